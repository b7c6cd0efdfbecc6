package documents

import (
	"strings"
	"testing"
)

// TestAFenceNobodySaysAnythingOfIsRefused holds the runner to refusing what it
// would otherwise pass over.
func TestAFenceNobodySaysAnythingOfIsRefused(t *testing.T) {
	for name, c := range map[string]struct{ page, want string }{
		"commands without a word":           {"```sh\ntrue\n```", "nothing says what these commands print"},
		"no language":                       {"```\ntrue\n```", "has no language"},
		"a comment for data":                {"<!-- prints: x -->\n```json\n{}\n```", "comments are for commands"},
		"not run, and yet it prints":        {"<!-- not run here: x -->\n<!-- prints: x -->\n```sh\ntrue\n```", "do not go together"},
		"asked again, and yet it stays":     {"<!-- prints soon: x -->\n<!-- keeps running -->\n```sh\ntrue\n```", "do not go together"},
		"the end of what has ended already": {"<!-- prints: x -->\n<!-- prints by the end: x -->\n```sh\ntrue\n```", "do not go together"},
		"not run for no reason":             {"<!-- not run here -->\n```sh\ntrue\n```", "says nothing"},
		"a comment with a slip":             {"<!-- print: x -->\n```sh\ntrue\n```", "no comment that is known"},
		"a comment above a paragraph":       {"<!-- prints: x -->\nand so on", "stands above no fence"},
		"a comment at the end":              {"<!-- prints: x -->", "stands above no fence"},
		"a fence without an end":            {"```sh\ntrue\n", "does not end"},
		"well said":                         {"<!-- prints: x -->\n```sh\necho x\n```\n", ""},
		"well said with a blank line":       {"<!-- not run here: x -->\n\n```sh\necho x\n```\n", ""},
		"data":                              {"```json\n{}\n```\n", ""},
	} {
		fences, err := fencesOf(c.page)
		for i := range fences {
			if err == nil {
				err = fences[i].check()
			}
		}
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
}
