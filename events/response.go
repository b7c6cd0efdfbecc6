package events

import (
	"encoding/json"
	"fmt"
	"time"
)

// ResponseCompleted is the event as a Go service builds it. A service that has
// the JSON already publishes that instead: its bytes are what receivers get.
type ResponseCompleted struct {
	Timestamp time.Time      `json:"timestamp"`
	Origin    string         `json:"origin,omitempty"` // where the response came from: "web"
	Survey    SurveyRef      `json:"survey"`
	Response  SurveyResponse `json:"response"`
}

// SurveyRef names the survey a response belongs to.
type SurveyRef struct {
	ID   Survey `json:"id"`
	Name string `json:"name,omitempty"`
}

// SurveyResponse is what a visitor answered.
type SurveyResponse struct {
	ID           string            `json:"id"` // unique: receivers recognise repeated deliveries by it
	Answers      []Answer          `json:"answers"`
	CustomParams map[string]string `json:"customParams,omitempty"`
	CompletedAt  time.Time         `json:"completedAt"`
	PageURL      string            `json:"pageUrl,omitempty"`
}

// Answer is the answer to one question; its value is whatever the question asks
// for.
type Answer struct {
	QuestionID string `json:"questionId"`
	Value      any    `json:"value"`
}

// Encode returns the event's bytes, ready for [Publisher.Publish]. The error is
// a [*BadEvent] when they would be refused.
func (r ResponseCompleted) Encode() ([]byte, error) {
	body, err := json.Marshal(struct {
		Event string `json:"event"`
		ResponseCompleted
	}{KindCompleted, r})
	if err != nil {
		return nil, fmt.Errorf("encode response %s: %w", quoteShort(r.Response.ID), err)
	}
	var n Names
	if _, err := n.Decode(base, nil, body); err != nil {
		return nil, err
	}
	return body, nil
}
