package api

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/popsee/webhooks/config"
)

// check holds a request's If-Match and If-None-Match to the webhook's revision, 0
// where there is none. A webhook that is there is changed by nobody who does not
// say which revision was looked at.
func check(r *http.Request, revision uint64) error {
	match, none := r.Header.Get("If-Match"), r.Header.Get("If-None-Match")
	switch {
	case none != "" && none != "*":
		return badRequest(`If-None-Match: only "*" makes sense here`)
	case none == "*" && revision != 0:
		return config.ErrConflict
	case match == "" && revision != 0:
		return problem{
			Title: "If-Match is needed", Status: http.StatusPreconditionRequired, Detail: "say which revision you have looked at",
			Hint: `send If-Match with the ETag of a GET, or "*" for whichever is there`,
		}
	case match == "" || match == "*" && revision != 0:
		return nil
	case match == "*" || !matches(match, revision):
		return config.ErrConflict
	default:
		return nil
	}
}

// matches says whether a list of entity tags has the revision's.
func matches(list string, revision uint64) bool {
	for tag := range strings.SplitSeq(list, ",") {
		if strings.TrimSpace(tag) == strconv.Quote(strconv.FormatUint(revision, 10)) {
			return revision != 0
		}
	}
	return false
}

// unchanged holds a change of a replay to the revision that was looked at, where the
// request names one: its progress makes new ones all the time, so nobody has to.
func unchanged(r *http.Request, revision uint64) error {
	if match := r.Header.Get("If-Match"); match != "" && match != "*" && !matches(match, revision) {
		return changed("the replay is not what was looked at any more")
	}
	return nil
}
