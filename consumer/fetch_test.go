package consumer

import (
	"testing"
	"time"
)

func TestWhatStoodInASocketForLongerThanAckWaitIsLeft(t *testing.T) {
	ended := time.Now()
	for after, want := range map[time.Duration]bool{0: false, time.Second: false, 9900 * time.Millisecond: false, 10 * time.Second: true, time.Hour: true} {
		if got := lapsed(ended, ended.Add(after), 10*time.Second); got != want {
			t.Errorf("after %s: %v, want %v", after, got, want)
		}
	}
}
