package consumer_test

import (
	"runtime"
	"testing"

	"github.com/nats-io/nats-server/v2/server/ats"
	"go.uber.org/goleak"
)

// TestMain starts the server's shared clock outside any bubble, and holds every
// test to leaving no goroutine behind.
//
// A story computes one thing after the other. With more processors than one, its
// goroutines spend as much time again on waking up threads for each other.
func TestMain(m *testing.M) {
	runtime.GOMAXPROCS(1)
	ats.Register()
	goleak.VerifyTestMain(m, goleak.IgnoreCurrent())
}
