// Package checks holds the tests of what this folder ships: that Kubernetes,
// Docker, NATS, systemd and Prometheus understand it, and that each alert fires on
// the /metrics of a running service when what it warns of happens.
//
//	go test ./...            in this folder, or: task test:checks
//
// It needs Go and, for the unit, systemd-analyze.
package checks
