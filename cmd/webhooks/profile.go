//go:build profile

package main

import _ "github.com/popsee/webhooks/deployments/profile" // writes profiles; only in a binary that is built to be measured
