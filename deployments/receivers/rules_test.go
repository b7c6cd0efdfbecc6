package receivers_test

import (
	"fmt"
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/popsee/webhooks/delivery"
)

// TestTheRulesNameTheRetryTimes holds the page's table to the schedule.
func TestTheRulesNameTheRetryTimes(t *testing.T) {
	page := readPage(t)
	var documented []string
	for _, m := range regexp.MustCompile(`(?m)^\| \d+(?: to \d+)? \| (\d.*) \|$`).FindAllStringSubmatch(page, -1) {
		documented = append(documented, strings.Split(m[1], ", ")...)
	}
	var scheduled []string
	for _, o := range delivery.Offsets() {
		scheduled = append(scheduled, spoken(o))
	}
	if !slices.Equal(documented, scheduled) {
		t.Errorf("the page has %v, the schedule %v", documented, scheduled)
	}
	if want := fmt.Sprintf("| 8 to %d |", len(scheduled)); !strings.Contains(page, want) {
		t.Errorf("the page lacks %q", want)
	}
	if want := "After " + spoken(delivery.Lifetime) + " it is given up"; !strings.Contains(page, want) {
		t.Errorf("the page lacks %q", want)
	}
}

func spoken(d time.Duration) string {
	switch {
	case d%time.Hour == 0:
		return fmt.Sprintf("%d h", d/time.Hour)
	case d%time.Minute == 0:
		return fmt.Sprintf("%d min", d/time.Minute)
	default:
		return fmt.Sprintf("%d s", d/time.Second)
	}
}

// TestTheRulesNameTheBoundsThatAreInForce holds every other figure of the page to
// the place that decides it: a constant, or the default of a setting.
func TestTheRulesNameTheBoundsThatAreInForce(t *testing.T) {
	page := readPage(t)
	for _, c := range []struct{ says, file, name, is string }{
		{"twice more within 3 s", "consumer/ride.go", "rideTries", "2"},
		{"twice more within 3 s", "consumer/ride.go", "rideMax", "3 * time.Second"},
		{"5 failures in a row", "consumer/admit/budget.go", "failuresInARow", "5"},
		{"first after 5 s", "consumer/lanes/lane.go", "FirstWait", "5 * time.Second"},
		{"at last every 5 min", "consumer/lanes/lane.go", "longest", "5 * time.Minute"},
		{"an hour at most", "delivery/retryafter.go", "maxRetryAfter", "time.Hour"},
	} {
		if !strings.Contains(page, c.says) {
			t.Errorf("the page does not say %q", c.says)
		}
		if got := constant(t, c.file, c.name); got != c.is {
			t.Errorf("the page says %q, and %s of %s is %s", c.says, c.name, c.file, got)
		}
	}
	for _, c := range []struct{ says, file, setting, is string }{
		{"**After 5 days**", "config/settings.go", "disable-after", "120h"},
		{"kept for 30 days", "config/settings.go", "history", "720h"},
		{"an overlap, 24 h", "cmd/webhooks/endpoint_rotate.go", "overlap", "24h"},
	} {
		if !strings.Contains(page, c.says) {
			t.Errorf("the page does not say %q", c.says)
		}
		if want := fmt.Sprintf(`name:"%s"`, c.setting); !regexp.MustCompile(want + ` .*default:"` + c.is + `"`).MatchString(source(t, c.file)) {
			t.Errorf("the page says %q, and --%s has another default in %s", c.says, c.setting, c.file)
		}
	}
}

// constant is what a file of the service gives a constant.
func constant(t *testing.T, file, name string) string {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), file, source(t, file), 0)
	if err != nil {
		t.Fatal(err)
	}
	value := ""
	ast.Inspect(f, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if ok && spec.Names[0].Name == name && len(spec.Values) == 1 {
			var b strings.Builder
			if err := format.Node(&b, token.NewFileSet(), spec.Values[0]); err != nil {
				t.Fatal(err)
			}
			value = b.String()
		}
		return true
	})
	return value
}

func source(t *testing.T, file string) string {
	t.Helper()
	return readFile(t, "../../"+file)
}
