package delivery

import (
	"io"
	"log"
	"testing"

	"go.uber.org/goleak"

	"github.com/popsee/webhooks/delivery/hostiletest"
)

func TestMain(m *testing.M) {
	// net/http prints what hostile receivers send unasked through the standard logger; it can be told nothing else.
	log.SetOutput(io.Discard)
	if hostiletest.ServeApart() {
		return
	}
	goleak.VerifyTestMain(m)
}
