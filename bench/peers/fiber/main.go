// Fiber: the answers of bench/cases.py, one core (GOMAXPROCS=1 outside).
package main

import (
	"log"
	"os"
	"strconv"

	"github.com/gofiber/fiber/v3"
)

// Document is what /echo takes: Go decodes into a declared shape, and the order of the members is the type's.
type Document struct {
	ID       int      `json:"id"`
	Title    string   `json:"title"`
	Done     bool     `json:"done"`
	Priority int      `json:"priority"`
	Tags     []string `json:"tags"`
	Assignee struct {
		ID   int    `json:"id"`
		Name string `json:"name"`
		Mail string `json:"mail"`
	} `json:"assignee"`
	Steps []struct {
		N     int     `json:"n"`
		Text  string  `json:"text"`
		Hours float64 `json:"hours"`
	} `json:"steps"`
	Note string `json:"note"`
}

func main() {
	app := fiber.New()
	app.Get("/", func(c fiber.Ctx) error { return c.SendString("Hello, World!") })
	app.Get("/json", func(c fiber.Ctx) error { return c.JSON(fiber.Map{"message": "Hello, World!"}) })
	app.Get("/items/:id<int>", func(c fiber.Ctx) error {
		id, err := strconv.Atoi(c.Params("id"))
		if err != nil {
			return fiber.ErrNotFound
		}
		return c.SendString("item " + strconv.Itoa(id))
	})
	app.Post("/echo", func(c fiber.Ctx) error {
		var document Document
		if err := c.Bind().Body(&document); err != nil {
			return err
		}
		return c.JSON(document)
	})
	log.Fatal(app.Listen("127.0.0.1:"+os.Args[1], fiber.ListenConfig{DisableStartupMessage: true}))
}
