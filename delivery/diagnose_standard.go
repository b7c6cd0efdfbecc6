package delivery

import (
	"crypto/hmac"
	"encoding/base64"
	"strconv"
	"strings"
)

// DiagnoseStandard is [Diagnose] for webhook-signature, which is made of the webhook-id, the webhook-timestamp and the
// body. The three values are given as received; of several signatures one must verify.
func DiagnoseStandard(secret Secret, id, timestamp, signature string, body []byte) Diagnosis {
	value, problem := unwrapped(signature)
	sums, broken := standardSums(value)
	if sums == nil {
		return broken
	}
	if d := checkSigned(id, timestamp); d.Problem != "" {
		return d
	}
	for _, c := range contents(id, timestamp) {
		matches := func(key, body []byte) bool {
			made := mac(key, append([]byte(c.prefix), body...))
			for _, sum := range sums {
				if hmac.Equal(sum, made) {
					return true
				}
			}
			return false
		}
		if found, ok := explained(secret, body, matches, standardMistakes); ok {
			return join(problem, c.Diagnosis, found)
		}
	}
	d := unexplained(body)
	d.Advice = "is this the " + HeaderStandardTimestamp + " of the same attempt? every attempt has its own, and its own signature; " + d.Advice
	return join(problem, d)
}

// standardSums reads the signatures of a header, nil when there are none.
func standardSums(value string) ([][]byte, Diagnosis) {
	if value == "" {
		return nil, Diagnosis{"there is no signature", "read the " + HeaderStandardSignature + " header; it is absent when the endpoint has no secret"}
	}
	var sums [][]byte
	for one := range strings.FieldsSeq(value) {
		encoded, ok := strings.CutPrefix(one, standardV1)
		if sum, err := base64.StdEncoding.DecodeString(encoded); ok && err == nil && len(sum) > 0 {
			sums = append(sums, sum)
		}
	}
	if sums != nil {
		return sums, Diagnosis{}
	}
	advice := "copy the whole value of the " + HeaderStandardSignature + " header"
	if sum, _ := decodedSum(value); sum != nil || strings.HasPrefix(value, popseePrefix) {
		return nil, Diagnosis{"this is no " + HeaderStandardSignature + ": those begin with v1, and are in base64", advice + ", or leave out the id and the time to verify " + HeaderSignature}
	}
	return nil, Diagnosis{"this is no " + HeaderStandardSignature + ": want v1, and base64, several separated by blanks", advice}
}

// checkSigned looks at what is signed besides the body.
func checkSigned(id, timestamp string) Diagnosis {
	switch _, err := strconv.ParseInt(timestamp, 10, 64); {
	case id == "":
		return Diagnosis{"the " + HeaderStandardID + " is missing: it is part of what is signed", "give it as received"}
	case timestamp == "":
		return Diagnosis{"the " + HeaderStandardTimestamp + " is missing: it is part of what is signed", "give it as received"}
	case err != nil:
		return Diagnosis{"the " + HeaderStandardTimestamp + " is no number of Unix seconds", "give it as received, and do not format it"}
	case len(timestamp) > 11:
		return Diagnosis{"the " + HeaderStandardTimestamp + " is not in seconds", "give it as received: it is sent in Unix seconds"}
	}
	return Diagnosis{}
}

// content is what stands before the body where it is signed.
type content struct {
	prefix string
	Diagnosis
}

// contents are the signed content's beginnings, the right one first.
func contents(id, timestamp string) []content {
	const advice = "what is signed is " + HeaderStandardID + ", a full stop, " + HeaderStandardTimestamp + ", a full stop and the body"
	return []content{
		{prefix: id + "." + timestamp + "."},
		{"", Diagnosis{"the body alone was signed", advice}},
		{timestamp + ".", Diagnosis{"the id was left out of what was signed", advice}},
		{id + ".", Diagnosis{"the time was left out of what was signed", advice}},
		{timestamp + "." + id + ".", Diagnosis{"the id and the time were signed in the wrong order", advice}},
		{id + timestamp, Diagnosis{"the full stops were left out of what was signed", advice}},
	}
}
