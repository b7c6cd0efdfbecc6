package delivery_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/popsee/webhooks/delivery"
)

// A receiver checks the signature over the raw body before it looks at anything in it.
func ExampleVerify() {
	secret, err := delivery.NewSecret("correct horse battery staple")
	if err != nil {
		fmt.Println(err)
		return
	}
	receive := func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
		if err != nil {
			http.Error(w, "body too large", http.StatusRequestEntityTooLarge)
			return
		}
		if err := delivery.Verify(secret, r.Header.Get(delivery.HeaderSignature), body); err != nil {
			http.Error(w, err.Error(), http.StatusUnauthorized)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	}

	event := `{"event":"response.completed"}`
	for _, body := range []string{event, event + " "} {
		request := httptest.NewRequestWithContext(context.Background(), http.MethodPost, "/webhooks", strings.NewReader(body))
		request.Header.Set(delivery.HeaderSignature, delivery.Sign(secret, []byte(event)))
		answer := httptest.NewRecorder()
		receive(answer, request)
		fmt.Println(answer.Code, http.StatusText(answer.Code))
	}
	// Output:
	// 204 No Content
	// 401 Unauthorized
}

// A secret says what it is and nothing more, however it is printed.
func ExampleSecret() {
	secret, _ := delivery.NewSecret("correct horse battery staple")
	fmt.Printf("%v %+v %q\n", secret, struct{ Secret delivery.Secret }{secret}, []delivery.Secret{secret})
	// Output: secret(...) {Secret:secret(...)} [secret(...)]
}

// The rules are checked when an endpoint is set, and say what to write instead.
func ExampleRules_CheckURL() {
	_, err := delivery.Rules{}.CheckURL("http://example.com/webhooks")
	fmt.Println(err)
	// Output: endpoint URL is not https
}

// An event's schedule is computed, never stored.
func ExampleNext() {
	parked := time.Date(2024, 1, 22, 12, 0, 0, 0, time.UTC)
	tries := 0
	for at, ok := delivery.Next(parked, "r-1", parked); ok; at, ok = delivery.Next(parked, "r-1", at) {
		tries++
	}
	fmt.Println(tries, "tries within", delivery.Lifetime)
	// Output: 12 tries within 72h0m0s
}
