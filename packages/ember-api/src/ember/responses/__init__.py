"""From what a handler returns to a response: conversion, files, streams, templates."""
