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
	"github.com/popsee/webhooks/deployments/profile"
)

// programs builds the programs into a temporary folder, which is the caller's to
// remove. Flags are go build's.
func programs(ctx context.Context, flags ...string) (string, error) {
	dir, err := os.MkdirTemp("", "bench-programs-")
	if err != nil {
		return "", err
	}
	if err := build(ctx, dir, flags...); err != nil {
		return "", errors.Join(err, os.RemoveAll(dir))
	}
	return dir, nil
}

// programsOf is programs, or profiled where a folder for that is given.
func programsOf(ctx context.Context, profiles string) (string, error) {
	if profiles != "" {
		return profiled(ctx, profiles)
	}
	return programs(ctx)
}

// build builds the programs into a folder.
func build(ctx context.Context, dir string, flags ...string) error {
	return process.Build(ctx, dir, append(flags, "github.com/nats-io/nats-server/v2", "github.com/popsee/webhooks/cmd/webhooks", "github.com/popsee/webhooks/deployments/bench")...)
}

// profiled builds programs that write their profiles into a folder when they end.
func profiled(ctx context.Context, folder string) (string, error) {
	folder, err := filepath.Abs(folder)
	if err != nil {
		return "", err
	}
	if err := errors.Join(os.MkdirAll(folder, 0o755), os.Setenv(profile.Variable, folder)); err != nil { //nolint:gosec // it is to be read
		return "", err
	}
	return programs(ctx, "-tags", "profile")
}

// buildWatermill builds the program of the nested module, beside the others.
func buildWatermill(ctx context.Context, dir string) error {
	root, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", "github.com/popsee/webhooks").Output()
	if err != nil {
		return fmt.Errorf("find the module: %w", err)
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-o", filepath.Join(dir, "watermill"), ".")
	cmd.Dir = filepath.Join(strings.TrimSpace(string(root)), "deployments", "bench", "watermill")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0") // as the others are built
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("build the Watermill consumer: %w", err)
	}
	return nil
}
