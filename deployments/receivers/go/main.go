// Command go is a complete receiver of Popsee webhooks for Go, with nothing but
// its standard library. Run it:  WEBHOOK_SECRET=... PORT=8000 go run .
package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"sync"
	"time"
)

// maxBody is more than any event.
const maxBody = 8 << 20

// receiver verifies deliveries and handles each event once.
type receiver struct {
	secret []byte

	// Deliveries already handled. Keep this where it survives a restart: in the
	// same database, and the same transaction, as what you do with the event.
	seen sync.Map
}

// genuine checks the signature, which covers the raw bytes. Verify before
// parsing: JSON that is parsed and written again is not the same bytes.
func (r *receiver) genuine(body []byte, header string) bool {
	mac := hmac.New(sha256.New, r.secret)
	mac.Write(body)
	expected := "sha256=" + hex.EncodeToString(mac.Sum(nil))
	return hmac.Equal([]byte(header), []byte(expected))
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	if req.Method != http.MethodPost {
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, req.Body, maxBody))
	if err != nil {
		w.WriteHeader(http.StatusRequestEntityTooLarge)
		return
	}
	if !r.genuine(body, req.Header.Get("X-Popsee-Signature")) {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	var event map[string]any
	if json.Unmarshal(body, &event) != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	id := req.Header.Get("X-Popsee-Delivery")
	if _, dup := r.seen.LoadOrStore(id, true); dup {
		fmt.Println("duplicate", id) // it was accepted before: say so again
		return
	}
	fmt.Println("accepted", id)
	go handle(event)
}

// handle is where your work goes, after the answer: the sender waits five
// seconds at most.
func handle(map[string]any) {}

func main() {
	port := os.Getenv("PORT")
	if port == "" {
		port = "8000"
	}
	l, err := net.Listen("tcp", "127.0.0.1:"+port)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("listening on http://" + l.Addr().String())
	s := &http.Server{Handler: &receiver{secret: []byte(os.Getenv("WEBHOOK_SECRET"))}, ReadHeaderTimeout: 10 * time.Second}
	log.Fatal(s.Serve(l))
}
