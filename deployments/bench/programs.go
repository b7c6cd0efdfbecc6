package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/popsee/webhooks/deployments/internal/process"
)

// programs builds the programs into a temporary folder, which is the caller's to
// remove.
func programs(ctx context.Context) (string, error) {
	dir, err := os.MkdirTemp("", "bench-programs-")
	if err != nil {
		return "", err
	}
	if err := build(ctx, dir); err != nil {
		return "", errors.Join(err, os.RemoveAll(dir))
	}
	return dir, nil
}

// build builds the programs into a folder.
func build(ctx context.Context, dir string) error {
	return process.Build(ctx, dir, "github.com/nats-io/nats-server/v2", "github.com/popsee/webhooks/cmd/webhooks", "github.com/popsee/webhooks/deployments/bench")
}

// buildWatermill builds the program of the nested module, beside the others.
func buildWatermill(ctx context.Context, dir string) error {
	root, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", "github.com/popsee/webhooks").Output()
	if err != nil {
		return fmt.Errorf("find the module: %w", err)
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-o", filepath.Join(dir, "watermill"), ".")
	cmd.Dir = filepath.Join(strings.TrimSpace(string(root)), "deployments", "bench", "watermill")
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("build the Watermill consumer: %w", err)
	}
	return nil
}
