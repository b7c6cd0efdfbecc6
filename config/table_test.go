package config

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/popsee/webhooks/events"
)

// modelEntry is what a plain map says a key has.
type modelEntry struct {
	revision   uint64
	generation uint32
	kind       kind
	value      string
}

// The table agrees with a plain map whatever happens to it: writes old and new,
// removals, passes over a bucket made anew, and the packing in between.
func TestTheTableIsAMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		table := newTable(shardCount, 1_000_000, nil)
		defer table.free()
		model := map[string]modelEntry{}
		key := rapid.StringMatching(`[a-c][0-9]?`)
		value := rapid.Custom(func(t *rapid.T) string {
			return strings.Repeat(rapid.StringN(0, 20, 40).Draw(t, "text"), rapid.IntRange(1, 600).Draw(t, "times"))
		})
		set := func(t *rapid.T, k kind) {
			id, revision, v := key.Draw(t, "key"), rapid.Uint64Range(1, 40).Draw(t, "revision"), ""
			if k == kindEndpoint {
				v = value.Draw(t, "value")
			}
			generation := table.generation.Load()
			news := table.set(generation, id, revision, k, []byte(v))
			old, known := model[id]
			want := modelEntry{revision, generation, k, v}
			if known && old.generation == generation && old.revision >= revision {
				want = old
			}
			same := known && want.revision == old.revision && want.kind == old.kind && want.value == old.value
			if news == same {
				t.Fatalf("set %s: news = %v, and it was %+v, is %+v", id, news, old, want)
			}
			model[id] = want
		}
		t.Repeat(map[string]func(*rapid.T){
			"put":    func(t *rapid.T) { set(t, kindEndpoint) },
			"remove": func(t *rapid.T) { set(t, kindRemoved) },
			"large":  func(t *rapid.T) { set(t, kindTooLarge) },
			"begin":  func(*rapid.T) { table.begin() },
			"late answer of another bucket": func(t *rapid.T) {
				if table.set(table.generation.Load()-1, key.Draw(t, "key"), 99, kindEndpoint, []byte("late")) {
					t.Fatal("it counts")
				}
			},
			"sweep": func(t *rapid.T) {
				var gone []string
				for _, r := range table.sweep() {
					gone = append(gone, r.key)
				}
				var want []string
				for k, e := range model {
					if e.generation != table.generation.Load() {
						want = append(want, k)
						delete(model, k)
					}
				}
				slices.Sort(gone)
				slices.Sort(want)
				if !slices.Equal(gone, want) {
					t.Fatalf("swept %v, want %v", gone, want)
				}
			},
			"": func(t *rapid.T) { compareTable(t, table, model) },
		})
	})
}

func compareTable(t *rapid.T, table *table, model map[string]modelEntry) {
	endpoints := 0
	for k, want := range model {
		got, ok := table.get(events.Survey(k))
		if ok != (want.kind != kindRemoved) {
			t.Fatalf("%s is there: %v, want %+v", k, ok, want)
		}
		if !ok {
			continue
		}
		endpoints++
		if got.revision != want.revision || got.kind != want.kind || string(got.value) != want.value {
			t.Fatalf("%s is %+v, want %+v", k, got, want)
		}
	}
	if e, keys := table.size(); e != endpoints || keys != len(model) {
		t.Fatalf("%d endpoints of %d keys, want %d of %d", e, keys, endpoints, len(model))
	}
	if _, ok := table.get("never"); ok {
		t.Fatal("a key is there that was never set")
	}
}

// Two keys of one hash cannot be met by chance, so they are made to meet.
func TestKeysOfOneHashAreToldApart(t *testing.T) {
	table := newTable(shardCount, 1_000_000, nil)
	defer table.free()
	s := &table.shards[0]
	for i, key := range []string{"a", "b", "c", "b"} {
		s.set(42, stored{key: key, revision: uint64(i + 1), kind: kindEndpoint, value: []byte(key)}, 0)
	}
	want := map[string]uint64{"a": 1, "b": 4, "c": 3}
	for key, revision := range want {
		r, ok := s.find(42, key)
		if !ok || r.revision() != revision || string(r.value()) != key {
			t.Errorf("%s: %v", key, r)
		}
	}
	if _, ok := s.find(42, "d"); ok {
		t.Error("found a key that was never set")
	}
	if s.keys() != 3 || s.endpoints != 3 {
		t.Errorf("%d keys, %d endpoints, want 3", s.keys(), s.endpoints)
	}
}

func TestTheArenaGivesBackWhatIsReplaced(t *testing.T) {
	table := newTable(shardCount, 1_000_000, nil)
	defer table.free()
	value := bytes.Repeat([]byte("0123456789abcdef"), 64)
	for i := range 20_000 {
		table.set(0, "one", uint64(i+1), kindEndpoint, append(value, fmt.Sprint(i)...))
	}
	s, _ := table.shardOf("one")
	if len(s.arena.slabs) > 3 {
		t.Errorf("%d slabs for one endpoint", len(s.arena.slabs))
	}
	in, ok := table.get("one")
	if !ok || !bytes.HasSuffix(in.value, []byte("19999")) {
		t.Errorf("the last value is lost: %+v", in)
	}
}

func TestARecordLargerThanASlabIsKept(t *testing.T) {
	var a arena
	defer a.free()
	small := a.add("a", 1, 0, kindEndpoint, []byte("x"))
	large := a.add("b", 2, 0, kindEndpoint, bytes.Repeat([]byte("y"), 2*slabBytes))
	next := a.add("c", 3, 0, kindEndpoint, []byte("z"))
	for at, want := range map[location]int{small: 1, large: 2 * slabBytes, next: 1} {
		if got := len(a.at(at).value()); got != want {
			t.Errorf("%d bytes, want %d", got, want)
		}
	}
}

func TestPackedValuesComeBackWhole(t *testing.T) {
	p := newPacker(nil)
	var s scratch
	piece := rapid.OneOf(
		rapid.Just(`"sealed":"`), rapid.Just(`"`), rapid.Just(`{"url":"https://`), rapid.Just("\n"), rapid.Just("="),
		rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) }),
		rapid.Map(rapid.SliceOf(rapid.Byte()), base64.StdEncoding.EncodeToString),
		rapid.StringMatching(`[A-Za-z0-9+/]{0,8}={0,3}`),
	)
	rapid.Check(t, func(t *rapid.T) {
		value := []byte(strings.Join(rapid.SliceOf(piece).Draw(t, "value"), ""))
		if got := p.unpack(p.pack(&s, value)); !bytes.Equal(got, value) {
			t.Fatalf("%q came back as %q", value, got)
		}
	})
}

func TestBase64ThatIsWrittenInAnotherWayIsPackedAsItIs(t *testing.T) {
	for name, sealed := range map[string]string{
		"bits that say nothing": "QR==", "no padding": "QQ", "line breaks": "QQ\n==", "cut off": "QUFB" + "Q", "empty": "",
	} {
		t.Run(name, func(t *testing.T) {
			p, value := newPacker(nil), []byte(`{"sealed":"`+sealed+`"}`)
			if got := p.unpack(p.pack(&scratch{}, value)); !bytes.Equal(got, value) {
				t.Errorf("%q came back as %q", value, got)
			}
		})
	}
}

func TestAnyNumberOfSealedSecretsIsPacked(t *testing.T) {
	p, one := newPacker(nil), `{"sealed":"`+base64.StdEncoding.EncodeToString(bytes.Repeat([]byte("k"), 98))+`"}`
	for _, n := range []int{0, 1, 2, 255, 256, 1000} {
		value := []byte(strings.Repeat(one, n))
		if got := p.unpack(p.pack(&scratch{}, value)); !bytes.Equal(got, value) {
			t.Errorf("%d secrets: %d bytes came back as %d others", n, len(value), len(got))
		}
	}
}

func TestASealedSecretTakesNoMoreThanItsBytes(t *testing.T) {
	random := make([]byte, 32+16+50)
	for i := range random {
		random[i] = byte(rand.IntN(256))
	}
	value := `{"url":"https://hooks.example.com/s1","secrets":[{"key_id":"0123456789abcdef","sealed":"` + base64.StdEncoding.EncodeToString(random) +
		`"}],"enabled":true,"updated_at":"2026-01-01T00:00:00.000Z"}`
	if n := len(newPacker(nil).pack(&scratch{}, []byte(value))); n > len(random)+72 {
		t.Errorf("%d bytes of a value of %d with a secret of %d, want at most 72 more than the secret's", n, len(value), len(random))
	}
}

func TestNearest(t *testing.T) {
	known := slices.Sorted(maps.Keys(map[string]bool{"max-in-flight": true, "nats-url": true, "listen": true}))
	for name, want := range map[string]string{
		"max-inflight": "max-in-flight", "nats-ulr": "nats-url", "lisen": "listen", "colour-of-the-sky": "", "x": "",
	} {
		if got := nearest(name, known); got != want {
			t.Errorf("nearest to %q is %q, want %q", name, got, want)
		}
	}
}
