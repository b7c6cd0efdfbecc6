package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
)

// measured is how a benchmark goes: the programs are built, all rounds are measured,
// and what was found is printed, written as JSON where a file for that is given, and
// judged.
func measured[T any](ctx context.Context, profiles, file string, rounds func(ctx context.Context, bin string) ([]T, error), text func([]T) string, judge func([]T) error) error {
	bin, err := programsOf(ctx, profiles)
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(bin) }()
	all, err := rounds(ctx, bin)
	if err != nil {
		return err
	}
	fmt.Print(text(all))
	return errors.Join(writeFile(file, func() ([]byte, error) { return json.MarshalIndent(all, "", "  ") }), judge(all))
}
