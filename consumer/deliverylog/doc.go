// Package deliverylog is the memory of what was tried: every attempt, and every
// event that was settled without one.
package deliverylog
