package provision_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"github.com/popsee/webhooks/consumer/internal/bustest"
	"github.com/popsee/webhooks/consumer/layout"
	"github.com/popsee/webhooks/consumer/provision"
	"github.com/popsee/webhooks/events"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func run(t *testing.T, js jetstream.JetStream, l layout.Layout, mode provision.Mode) provision.Report {
	t.Helper()
	r, err := provision.Run(t.Context(), js, l, mode, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// want checks that every finding has the verdict.
func want(t *testing.T, r provision.Report, v provision.Verdict) {
	t.Helper()
	for _, f := range r {
		if f.Verdict != v {
			t.Errorf("%s %s is %s, want %s: %v", f.Kind, f.Name, f.Verdict, v, f.Differences)
		}
	}
}

func verdict(t *testing.T, r provision.Report, name string) provision.Finding {
	t.Helper()
	for _, f := range r {
		if f.Name == name {
			return f
		}
	}
	t.Fatalf("nothing was found about %s", name)
	return provision.Finding{}
}

func TestAnEmptyServerGetsEverythingAndASecondRunFindsItSame(t *testing.T) {
	js := bustest.Start(t)
	l := layout.Layout{StoreBytes: 1 << 30}
	want(t, run(t, js, l, provision.Ensure), provision.Created)
	want(t, run(t, js, l, provision.Ensure), provision.Same)
	want(t, run(t, js, l, provision.Update), provision.Same)
	want(t, run(t, js, layout.Layout{}, provision.Update), provision.Same) // asked from where the store's size is not known
}

func TestADryRunTouchesNothing(t *testing.T) {
	js := bustest.Start(t)
	want(t, run(t, js, layout.Layout{}, provision.DryRun), provision.Created)
	names := js.StreamNames(t.Context())
	for name := range names.Name() {
		t.Errorf("a dry run created %s", name)
	}
}

func TestTheEventStreamsOwnerKeepsItsOwnLimits(t *testing.T) {
	js := bustest.Start(t)
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "RESPONSES", Subjects: []string{"responses.>"}, MaxAge: time.Hour}); err != nil {
		t.Fatal(err)
	}
	f := verdict(t, run(t, js, layout.Layout{}, provision.Update), "RESPONSES")
	if f.Verdict != provision.Differs || len(f.Differences) != 1 || f.Differences[0].Field != "max_age" || f.Differences[0].Ours {
		t.Errorf("found %+v", f)
	}
	s, err := js.Stream(t.Context(), "RESPONSES")
	if err != nil {
		t.Fatal(err)
	}
	if got := s.CachedInfo().Config.MaxAge; got != time.Hour {
		t.Errorf("the owner's max_age was changed to %s", got)
	}
	c, err := s.Consumer(t.Context(), "webhooks")
	if err != nil {
		t.Fatal(err)
	}
	if got := c.CachedInfo().Config.FilterSubjects; len(got) != 2 {
		t.Errorf("on a stream that holds more, the consumer filters %v", got)
	}
}

func TestAStreamThatCannotKeepThePromiseStopsTheService(t *testing.T) {
	for name, cfg := range map[string]jetstream.StreamConfig{
		"retention": {Retention: jetstream.WorkQueuePolicy, Subjects: []string{"responses.completed", "responses.completed.*"}},
		"storage":   {Storage: jetstream.MemoryStorage, Subjects: []string{"responses.completed", "responses.completed.*"}},
		"subjects":  {Subjects: []string{"responses.completed"}},
	} {
		t.Run(name, func(t *testing.T) {
			js := bustest.Start(t)
			cfg.Name = "RESPONSES"
			if _, err := js.CreateStream(t.Context(), cfg); err != nil {
				t.Fatal(err)
			}
			_, err := provision.Run(t.Context(), js, layout.Layout{}, provision.Ensure, zerolog.Nop())
			var unfit *provision.Unfit
			if !errors.As(err, &unfit) || !strings.Contains(err.Error(), name) || unfit.Hint() == "" {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestAConsumerSetUpOtherwiseIsShownThenChangedOnRequest(t *testing.T) {
	js := bustest.Start(t)
	run(t, js, layout.Layout{}, provision.Ensure)
	other := layout.Layout{AckWait: time.Minute}
	_, err := provision.Run(t.Context(), js, other, provision.Ensure, zerolog.Nop())
	if err == nil || !strings.Contains(err.Error(), "ack_wait is 30s, wanted 1m0s") {
		t.Errorf("a starting replica says %v", err)
	}
	if f := verdict(t, run(t, js, other, provision.DryRun), "webhooks"); f.Verdict != provision.Changed {
		t.Errorf("a dry run says %s", f.Verdict)
	}
	run(t, js, other, provision.Update)
	want(t, run(t, js, other, provision.Ensure), provision.Same)
}

func TestABucketSetUpOtherwiseIsChangedOnRequest(t *testing.T) {
	js := bustest.Start(t)
	if _, err := js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "webhook_endpoints", History: 1}); err != nil {
		t.Fatal(err)
	}
	if _, err := provision.Run(t.Context(), js, layout.Layout{}, provision.Ensure, zerolog.Nop()); err == nil {
		t.Error("a starting replica takes a bucket that is set up otherwise")
	}
	if f := verdict(t, run(t, js, layout.Layout{}, provision.Update), "webhook_endpoints"); f.Verdict != provision.Changed {
		t.Errorf("found %+v", f)
	}
	want(t, run(t, js, layout.Layout{}, provision.Ensure), provision.Same)
}

func TestAPushConsumerOfTheSameNameCannotBeChanged(t *testing.T) {
	js := bustest.Start(t)
	if _, err := js.CreateStream(t.Context(), layout.Layout{}.Events()); err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreatePushConsumer(t.Context(), "RESPONSES", jetstream.ConsumerConfig{Durable: "webhooks", DeliverSubject: "x", AckPolicy: jetstream.AckExplicitPolicy}); err != nil {
		t.Fatal(err)
	}
	_, err := provision.Run(t.Context(), js, layout.Layout{}, provision.Update, zerolog.Nop())
	if err == nil || !strings.Contains(err.Error(), "webhooks") {
		t.Errorf("got %v", err)
	}
}

func TestTwoReplicasProvisionAtOnce(t *testing.T) {
	js := bustest.Start(t)
	errs := make(chan error)
	for range 8 {
		go func() {
			_, err := provision.Run(t.Context(), js, layout.Layout{}, provision.Ensure, zerolog.Nop())
			errs <- err
		}()
	}
	for range 8 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	want(t, run(t, js, layout.Layout{}, provision.Ensure), provision.Same)
}

func TestTwoDeploymentsLiveSideBySideUnderTheirPrefixes(t *testing.T) {
	js := bustest.Start(t)
	for _, prefix := range []string{"", "eu", "us"} {
		l := layout.Layout{}
		if err := setPrefix(&l, prefix); err != nil {
			t.Fatal(err)
		}
		want(t, run(t, js, l, provision.Ensure), provision.Created)
	}
}

func setPrefix(l *layout.Layout, prefix string) (err error) {
	l.Names, err = events.NewNames(prefix)
	return err
}
