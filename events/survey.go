package events

import "fmt"

// Survey is a survey's id: 1 to 128 of A–Z a–z 0–9 - and _, so that it is valid
// both as one subject token and as a key-value key.
type Survey string

// maxSurvey is the longest survey id, in bytes.
const maxSurvey = 128

// ParseSurvey checks a survey id.
func ParseSurvey(s string) (Survey, error) {
	if s == "" || len(s) > maxSurvey {
		return "", fmt.Errorf("survey id of %d bytes: use 1 to %d letters, digits, - and _", len(s), maxSurvey)
	}
	for i := range len(s) {
		if !surveyByte(s[i]) {
			return "", fmt.Errorf("survey id %q is not valid: use letters, digits, - and _", s)
		}
	}
	return Survey(s), nil
}

func surveyByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_'
}
