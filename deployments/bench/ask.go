package main

import (
	"context"
	"encoding/json"
	"os"
	"strconv"
	"strings"

	"github.com/popsee/webhooks/deployments/internal/process"
)

func readJSON(path string, into any) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return json.Unmarshal(b, into)
}

// metrics reads the service's own counters and gauges, by name with labels.
func (g *rig) metrics(ctx context.Context) (map[string]float64, error) {
	return metricsAt(ctx, g.admin)
}

// metricsAt reads those of the service whose admin listener is there.
func metricsAt(ctx context.Context, admin string) (map[string]float64, error) {
	b, err := process.Get(ctx, "http://"+admin+"/metrics")
	if err != nil {
		return nil, err
	}
	m := map[string]float64{}
	for line := range strings.Lines(string(b)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if !strings.HasPrefix(name, "webhooks_") || strings.Contains(name, "_bucket{") {
			continue
		}
		if v, err := strconv.ParseFloat(value, 64); err == nil && v != 0 {
			m[name] = v
		}
	}
	return m, nil
}
