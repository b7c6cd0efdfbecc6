package main

import "context"

type memoryCommand struct{}

// Run is.
func (c *memoryCommand) Run(ctx context.Context) error { return nil }
