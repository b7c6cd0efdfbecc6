package main

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestAStopWaitsForWhatIsInHandAndNotForEver(t *testing.T) {
	refused := errors.New("refused")
	for name, c := range map[string]struct {
		takes time.Duration // 0: for ever
		hears bool          // it ends when it is told that it may not go on
		stops time.Duration
		err   bool
	}{
		"it ends by itself":             {takes: 3 * time.Second, stops: 3 * time.Second},
		"it ends when its time is over": {hears: true, stops: finishTime},
		"it does not end":               {stops: finishTime + heardTime, err: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ended := make(chan error, 1)
				if c.takes > 0 {
					time.AfterFunc(c.takes, func() { ended <- refused })
				}
				began := time.Now()
				err := finish(ended, func() {
					if c.hears {
						ended <- refused
					}
				})
				if took := time.Since(began); took != c.stops {
					t.Errorf("it took %s, want %s", took, c.stops)
				}
				if errors.Is(err, refused) == c.err {
					t.Errorf("it ends with: %v", err)
				}
			})
		})
	}
}
