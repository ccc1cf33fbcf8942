"""Responses: conversion of return values, files, streams, templates."""
