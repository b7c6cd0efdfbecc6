package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"github.com/popsee/webhooks/cmd/webhooks/internal/bus"
	"github.com/popsee/webhooks/consumer/layout"
	"github.com/popsee/webhooks/consumer/leases"
	"github.com/popsee/webhooks/consumer/mark"
	"github.com/popsee/webhooks/consumer/provision"
	"github.com/popsee/webhooks/delivery"
	"github.com/popsee/webhooks/delivery/leaktest"
)

func TestGrades(t *testing.T) {
	now := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	old := &jetstream.StreamInfo{
		Config: jetstream.StreamConfig{MaxAge: 30 * 24 * time.Hour},
		State:  jetstream.StreamState{Msgs: 11, FirstSeq: 1, LastSeq: 11, FirstTime: now.Add(-29*24*time.Hour - 12*time.Hour), LastTime: now},
	}
	replica := func(id, version string) leases.Replica { return leases.Replica{ID: id, Version: version} }
	holds := func(replicas ...string) map[int]leases.Holding {
		m := map[int]leases.Holding{}
		for i, r := range replicas {
			m[i] = leases.Holding{Replica: r}
		}
		return m
	}
	lanes := jetstream.StreamConfig{Name: "LANES", Discard: jetstream.DiscardNew, MaxBytes: 1000}
	for name, c := range map[string]struct {
		found []finding
		grade grade
		says  string
	}{
		"NATS is too old":             {[]finding{natsVersion("nats://n", "2.11.9", "")}, gradeFail, "cannot store many events at once"},
		"NATS is old":                 {[]finding{natsVersion("nats://n", "2.12.4", "c1")}, gradeWarn, "made anew"},
		"NATS is new":                 {[]finding{natsVersion("nats://n", "2.15.2", "c1")}, gradeOK, "NATS 2.15.2, cluster c1"},
		"NATS is near":                {[]finding{roundTripTook(200 * time.Microsecond)}, gradeOK, "200µs"},
		"NATS is far":                 {[]finding{roundTripTook(80 * time.Millisecond)}, gradeWarn, "80ms"},
		"in the open, at home":        {[]finding{unencrypted("nats://[::1]:4222")}, gradeOK, "none is needed"},
		"in the open, abroad":         {[]finding{unencrypted("nats://nats.example.com:4222")}, gradeWarn, "not encrypted"},
		"NATS' certificate is good":   {[]finding{certificate("NATS TLS", "encrypted", time.Now().Add(90*24*time.Hour))}, gradeOK, "encrypted"},
		"NATS' certificate ends":      {[]finding{certificate("NATS TLS", "encrypted", time.Now().Add(50*time.Hour))}, gradeWarn, "in 2 d"},
		"the store has room":          {[]finding{filled("store", 10, 100, "")}, gradeOK, "(10 %)"},
		"the store is nearly full":    {[]finding{filled("store", 80, 100, "")}, gradeWarn, "(80 %)"},
		"the store is full":           {[]finding{filled("store", 95, 100, "")}, gradeFail, "(95 %)"},
		"events fit":                  {[]finding{payload(8<<20, 1<<20)}, gradeOK, "events of 1.0 MiB fit"},
		"events do not fit":           {[]finding{payload(1<<20, 1<<20)}, gradeFail, "the service does not start"},
		"an alarm stands":             {[]finding{marked(&mark.Alarm{What: "the state was lost", Command: "resume"}, mark.Position{Floor: 7}, true, now)}, gradeFail, "the state was lost"},
		"there is no mark":            {[]finding{marked(nil, mark.Position{}, false, now)}, gradeWarn, "never run here"},
		"the mark stands":             {[]finding{marked(nil, mark.Position{Floor: 7, At: now}, true, now)}, gradeOK, "up to sequence 7"},
		"endpoints are well":          {[]finding{wellness(unwellView{})}, gradeOK, "no endpoint"},
		"endpoints fail":              {[]finding{wellness(unwellView{Failing: 2})}, gradeWarn, "2 failing"},
		"its view is current":         {here(&replicaState{Address: "a", Status: "ready"}, "a"), gradeOK, "its view of endpoints is current"},
		"its view is stale":           {here(&replicaState{Address: "a", Status: "not ready", Reason: "the endpoints are stale"}, "a"), gradeFail, "the endpoints are stale"},
		"it runs unsafely":            {here(&replicaState{Address: "a", Status: "ready", Warnings: []string{"UNSAFE"}}, "a"), gradeWarn, "UNSAFE"},
		"nobody answers here":         {here(nil, "a"), gradeWarn, "cannot be seen from here"},
		"the log is whole":            {[]finding{logLost(0)}, gradeOK, "lost nothing"},
		"the log has lost":            {[]finding{logLost(3)}, gradeWarn, "3 records lost"},
		"all copies are there":        {copies(&jetstream.StreamInfo{Config: jetstream.StreamConfig{Replicas: 3}, Cluster: &jetstream.ClusterInfo{Leader: "a", Replicas: []*jetstream.PeerInfo{{Name: "b", Current: true}}}}, true), gradeOK, ""},
		"a copy is behind":            {copies(&jetstream.StreamInfo{Config: jetstream.StreamConfig{Replicas: 3}, Cluster: &jetstream.ClusterInfo{Leader: "a", Replicas: []*jetstream.PeerInfo{{Name: "b", Lag: 9}}}}, true), gradeWarn, "9 writes behind"},
		"its name is unknown":         {handshake(delivery.Handshake{Host: "example.com:443", Reason: delivery.ReasonDNS, Detail: "no such host"}), gradeFail, "no such host"},
		"its certificate is bad":      {handshake(delivery.Handshake{Host: "example.com:443", Reason: delivery.ReasonTLS, Detail: "expired"}), gradeFail, "expired"},
		"it speaks without TLS":       {handshake(delivery.Handshake{Host: "example.com:80"}), gradeWarn, "without TLS"},
		"the clock is right":          {[]finding{clock(-300 * time.Millisecond)}, gradeOK, "300ms"},
		"the clock is off":            {[]finding{clock(-2 * time.Second)}, gradeWarn, "2s"},
		"the clock is wrong":          {[]finding{clock(time.Minute)}, gradeFail, "1m0s"},
		"a stream has room":           {[]finding{filling(&jetstream.StreamInfo{Config: lanes, State: jetstream.StreamState{Bytes: 700}}, "")}, gradeOK, "70 %"},
		"a stream is nearly full":     {[]finding{filling(&jetstream.StreamInfo{Config: lanes, State: jetstream.StreamState{Bytes: 850}}, "")}, gradeWarn, "85 %"},
		"a stream is full":            {[]finding{filling(&jetstream.StreamInfo{Config: lanes, State: jetstream.StreamState{Bytes: 990}}, "")}, gradeFail, "99 %"},
		"a full one drops its oldest": {[]finding{filling(&jetstream.StreamInfo{Config: jetstream.StreamConfig{MaxBytes: 1000, MaxAge: time.Hour}, State: jetstream.StreamState{Bytes: 999}}, "")}, gradeOK, "1 h"},
		"lanes without a bound":       {[]finding{filling(&jetstream.StreamInfo{Config: jetstream.StreamConfig{Discard: jetstream.DiscardNew, MaxBytes: -1}}, "")}, gradeWarn, "no limit of size"},
		"one copy on a cluster":       {copies(&jetstream.StreamInfo{Config: jetstream.StreamConfig{Replicas: 1}}, true), gradeWarn, "1 copy"},
		"a copy is offline": {
			copies(&jetstream.StreamInfo{Config: jetstream.StreamConfig{Replicas: 3}, Cluster: &jetstream.ClusterInfo{Leader: "a", Replicas: []*jetstream.PeerInfo{{Name: "b", Current: true}, {Name: "c", Offline: true}}}}, true),
			gradeFail, "c is offline",
		},
		"no leader":        {copies(&jetstream.StreamInfo{Config: jetstream.StreamConfig{Replicas: 3}, Cluster: &jetstream.ClusterInfo{}}, true), gradeFail, "no leader"},
		"all is given out": {live(old, &jetstream.ConsumerInfo{NumAckPending: 5, AckFloor: jetstream.SequenceInfo{Stream: 6}, Config: jetstream.ConsumerConfig{MaxAckPending: 5}}, now), gradeFail, "no more are given out"},
		"nobody asks":      {live(old, &jetstream.ConsumerInfo{NumPending: 5, AckFloor: jetstream.SequenceInfo{Stream: 6}}, now), gradeFail, "no replica asks"},
		"soon gone":        {live(old, &jetstream.ConsumerInfo{NumPending: 11, NumWaiting: 1}, now), gradeFail, "in 12 h"},
		"it waits":         {[]finding{timeLeft(old, &jetstream.ConsumerInfo{NumPending: 1, AckFloor: jetstream.SequenceInfo{Stream: 10}}, now)}, gradeOK, "for another 30 d"},
		"nothing is lost": {
			[]finding{timeLeft(&jetstream.StreamInfo{State: old.State}, &jetstream.ConsumerInfo{NumPending: 11}, now)}, gradeOK, "drops nothing by age or size",
		},
		"by size, all at once": {
			[]finding{timeLeft(&jetstream.StreamInfo{Config: jetstream.StreamConfig{MaxBytes: 1000}, State: jetstream.StreamState{Msgs: 1, FirstSeq: 1, LastSeq: 1, Bytes: 10}}, &jetstream.ConsumerInfo{NumPending: 1}, now)},
			gradeOK, "not known before more was published",
		},
		"it keeps little": {
			[]finding{timeLeft(&jetstream.StreamInfo{Config: jetstream.StreamConfig{MaxAge: 12 * time.Hour}, State: jetstream.StreamState{Msgs: 1, FirstSeq: 1, LastSeq: 1, FirstTime: now, LastTime: now}}, &jetstream.ConsumerInfo{NumAckPending: 1}, now)},
			gradeOK, "for another 12 h",
		},
		"it keeps little, and that is half gone": {
			[]finding{timeLeft(&jetstream.StreamInfo{Config: jetstream.StreamConfig{MaxAge: 12 * time.Hour}, State: jetstream.StreamState{Msgs: 1, FirstSeq: 1, LastSeq: 1, FirstTime: now.Add(-7 * time.Hour), LastTime: now}}, &jetstream.ConsumerInfo{NumAckPending: 1}, now)},
			gradeFail, "is lost, in 5 h",
		},
		"the stream is empty": {[]finding{timeLeft(&jetstream.StreamInfo{Config: old.Config}, &jetstream.ConsumerInfo{}, now)}, gradeOK, "nothing in the event stream waits"},
		"all is synced":       {[]finding{syncing("http://nats-0:8222", bus.Sync{Always: true}, nil)}, gradeOK, "syncs every write before"},
		"synced now and then": {[]finding{syncing("http://nats-0:8222", bus.Sync{Interval: 2 * time.Minute}, nil)}, gradeWarn, "syncs every 2m0s"},
		"nobody says":         {[]finding{syncing("http://nats-0:8222", bus.Sync{}, errors.New("refused"))}, gradeWarn, "could not be checked: refused"},
		"nothing waits":       {live(old, &jetstream.ConsumerInfo{NumWaiting: 1, AckFloor: jetstream.SequenceInfo{Stream: 11}}, now), gradeOK, "0 in hand"},
		"nobody lives":        {fleet(leases.Picture{}, []int{0, 1}, 2), gradeFail, "nothing is delivered"},
		"a shard is free":     {fleet(leases.Picture{Replicas: []leases.Replica{replica("a", "1")}, Holders: holds("a")}, []int{1}, 2), gradeWarn, "1 of 2 shards"},
		"a holder is gone":    {fleet(leases.Picture{Replicas: []leases.Replica{replica("a", "1")}, Holders: holds("a", "b")}, nil, 2), gradeWarn, "held by b"},
		"two versions":        {fleet(leases.Picture{Replicas: []leases.Replica{replica("a", "1"), replica("b", "2")}, Holders: holds("a", "b")}, nil, 2), gradeWarn, "1, 2"},
		"all is owned":        {fleet(leases.Picture{Replicas: []leases.Replica{replica("a", "1")}, Holders: holds("a", "a")}, nil, 2), gradeOK, "all 2 shards"},
		"as wanted":           {setUp(provision.Finding{Kind: "stream", Name: "S", Verdict: provision.Same}), gradeOK, "is there"},
		"missing":             {setUp(provision.Finding{Kind: "stream", Name: "S", Verdict: provision.Created}), gradeFail, "is missing"},
		"otherwise":           {setUp(provision.Finding{Differences: []provision.Difference{{Field: "ack_wait", Have: "1s", Want: "30s", Ours: true}}}), gradeFail, "ack_wait is 1s, wanted 30s"},
		"its owner's choice":  {setUp(provision.Finding{Differences: []provision.Difference{{Field: "max_age", Have: "1s", Want: "30s"}}}), gradeWarn, "its owner's choice"},
		"blocked":             {handshake(delivery.Handshake{Host: "example.com:443", Reason: delivery.ReasonBlocked, Detail: "address blocked: private or reserved"}), gradeFail, "blocked-address"},
		"it ends soon":        {handshake(delivery.Handshake{Host: "example.com:443", TLS: "TLS 1.3", Expires: time.Now().Add(50 * time.Hour)}), gradeWarn, "in 2 d"},
		"it is good":          {handshake(delivery.Handshake{Host: "example.com:443", TLS: "TLS 1.3", Expires: time.Now().Add(5000 * time.Hour)}), gradeOK, "good until"},
	} {
		worst, says := gradeOK, ""
		for _, f := range c.found {
			if f.Grade == gradeFail || f.Grade == gradeWarn && worst == gradeOK {
				worst = f.Grade
			}
			says += f.What + "\n"
		}
		for _, f := range c.found {
			if f.Grade != gradeOK && f.Do == "" && f.About != "LANES" && f.About != "store" { // of these the caller says it
				t.Errorf("%s: nothing is said of what to do", name)
			}
		}
		if worst != c.grade || !strings.Contains(says, c.says) {
			t.Errorf("%s: %s %q, want %s and %q", name, worst, says, c.grade, c.says)
		}
	}
}

func TestAtLeast(t *testing.T) {
	for have, want := range map[string]bool{"2.12.0": true, "2.12.10": true, "2.13.0-RC.1": true, "3.0.0": true, "2.11.9": false, "1.99.0": false, "": false} {
		if atLeast(have, "2.12") != want {
			t.Errorf("%q at least 2.12: want %v", have, want)
		}
	}
}

// TestTheDoctorNamesTheRightThatIsMissing, and what it tries changes nothing and
// fills no log.
func TestTheDoctorNamesTheRightThatIsMissing(t *testing.T) {
	deny := []string{"$KV.webhook_health.>", "webhooks.dead.*", "$JS.API.CONSUMER.MSG.NEXT.RESPONSES.webhooks", "$JS.API.STREAM.PURGE.WEBHOOK_LANES"}
	for _, deed := range []string{"CREATE", "INFO", "MSG.NEXT", "DELETE"} {
		deny = append(deny, "$JS.API.CONSUMER."+deed+".RESPONSES.webhooks-replay-doctor")
	}
	s, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true,
		Users: []*server.User{
			{Username: "all", Password: doctorsPassword},
			{Username: "few", Password: doctorsPassword, Permissions: &server.Permissions{Publish: &server.SubjectPermission{Allow: []string{">"}, Deny: deny}}},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	var log serverLog
	s.SetLogger(&log, false, false)
	s.Start()
	defer s.WaitForShutdown()
	defer s.Shutdown()
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("the server did not start")
	}
	nc, err := nats.Connect(s.ClientURL(), nats.UserInfo("all", doctorsPassword))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := provision.Run(t.Context(), js, layout.Layout{}, provision.Ensure, zerolog.Nop()); err != nil {
		t.Fatal(err)
	}
	if _, err := js.Publish(t.Context(), "responses.completed.s1", event("s1", "r1")); err != nil {
		t.Fatal(err)
	}
	before := stored(t, js)
	log.reset()
	if said := doctorSays(t, s.ClientURL(), "all"); strings.Contains(said, "fail  permissions") || !strings.Contains(said, "ok    permissions") {
		t.Errorf("somebody who may do everything is told:\n%s", said)
	}
	if logged := log.said(); logged != "" {
		t.Errorf("NATS has logged what was tried:\n%s", logged)
	}
	said := doctorSays(t, s.ClientURL(), "few")
	for _, subject := range append([]string{"$KV.webhook_health.doctor", "webhooks.dead.doctor"}, deny[2:]...) {
		if !strings.Contains(said, "these credentials may not publish to "+subject+", which") {
			t.Errorf("nothing is said of %s:\n%s", subject, said)
		}
	}
	if n := strings.Count(said, "fail  permissions"); n != len(deny) {
		t.Errorf("%d rights are missing, want %d:\n%s", n, len(deny), said)
	}
	if after := stored(t, js); after != before {
		t.Errorf("the streams held %s, and hold %s", before, after)
	}
}

// serverLog is what a NATS server writes into its log, but for what it notes of its
// own doings.
type serverLog struct {
	mu    sync.Mutex // guards lines
	lines []string
}

func (l *serverLog) add(level, format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, level+" "+fmt.Sprintf(format, args...))
}

func (l *serverLog) reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = nil
}

func (l *serverLog) said() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.lines, "\n")
}

// Noticef implements server.Logger.
func (l *serverLog) Noticef(string, ...any) {}

// Warnf implements server.Logger.
func (l *serverLog) Warnf(format string, args ...any) { l.add("warn", format, args...) }

// Fatalf implements server.Logger.
func (l *serverLog) Fatalf(format string, args ...any) { l.add("fatal", format, args...) }

// Errorf implements server.Logger.
func (l *serverLog) Errorf(format string, args ...any) { l.add("error", format, args...) }

// Debugf implements server.Logger.
func (l *serverLog) Debugf(string, ...any) {}

// Tracef implements server.Logger.
func (l *serverLog) Tracef(string, ...any) {}

// doctorsPassword is what doctor is given, and must not say.
const doctorsPassword = "open-sesame"

func doctorSays(t *testing.T, url, user string) string {
	t.Helper()
	var out, errw bytes.Buffer
	env := map[string]string{"NATS_URL": url, "NATS_USER": user, "NATS_PASSWORD": doctorsPassword, "WEBHOOKS_ADMIN_LISTEN": "127.0.0.1:1"}
	run(t.Context(), []string{"doctor"}, func(key string) string { return env[key] }, strings.NewReader(""), &out, &errw)
	leaktest.Plant(t, doctorsPassword).In(t, "what doctor says", []byte(out.String()+errw.String()))
	return out.String()
}

// stored is what every stream holds, in one line, and what its consumers have been
// given.
func stored(t *testing.T, js jetstream.JetStream) string {
	t.Helper()
	var b strings.Builder
	for name := range js.StreamNames(context.Background()).Name() {
		s, err := js.Stream(context.Background(), name)
		if err != nil {
			t.Fatal(err)
		}
		b.WriteString(name + "=" + time.Duration(s.CachedInfo().State.LastSeq).String() + " ")
	}
	c, err := js.Consumer(context.Background(), "RESPONSES", "webhooks")
	if err != nil {
		t.Fatal(err)
	}
	b.WriteString(time.Duration(c.CachedInfo().Delivered.Consumer).String()) //nolint:gosec // a few
	return b.String()
}
