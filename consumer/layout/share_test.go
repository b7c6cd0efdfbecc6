package layout_test

import (
	"testing"

	"github.com/popsee/webhooks/consumer/layout"
)

func TestAllCopiesOfAllStreamsFitTheStore(t *testing.T) {
	const store = 100 << 30
	for _, replicas := range []int{0, 1, 3, 5} {
		l := layout.Layout{Replicas: replicas, StoreBytes: store}
		var taken int64
		for _, s := range append(l.Own(), l.Events()) {
			if s.MaxBytes <= 0 {
				t.Errorf("%d copies: stream %s is not bounded", replicas, s.Name)
			}
			taken += s.MaxBytes * int64(s.Replicas)
		}
		if taken > store || taken < store*9/10 {
			t.Errorf("%d copies: streams take %d of %d bytes, want a little less than all", replicas, taken, store)
		}
	}
}
