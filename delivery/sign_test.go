package delivery

import (
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

const (
	vectorBody   = `{"event":"response.completed","n":9007199254740993,"t":"😀\r\n"}`
	vectorPlain  = "my secret"
	vectorWhsec  = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	vectorID     = "id_1"
	vectorAtUnix = 1700000000
)

// The expected values were made with OpenSSL: openssl dgst -sha256 -hmac SECRET, over the body or id.timestamp.body.
func TestSignaturesMatchOpenSSL(t *testing.T) {
	for _, v := range []struct{ name, secret, popsee, standard string }{
		{
			"any text", vectorPlain,
			"sha256=6af58bff74e5e202bf27167a6d5c80c7367b79f2e80631cb0f7e13bea5812369",
			"v1,/rElgys4WQ97h+89TeEHKWI+WmvG1VegXpIHDEF//5I=",
		},
		{
			"whsec_: the text signs X-Popsee-Signature, the decoded part webhook-signature", vectorWhsec,
			"sha256=fdbf4177eff67ba24d1b3a9499bfa68b4f3cc2b3f704f751a4e6e1f70a999043",
			"v1,9smS4MX7Gdl1qlruhZGEwCBcyhPCVjSjByHQWs1siiI=",
		},
	} {
		t.Run(v.name, func(t *testing.T) {
			secret := mustSecret(t, v.secret)
			if got := Sign(secret, []byte(vectorBody)); got != v.popsee {
				t.Errorf("got %s, want %s", got, v.popsee)
			}
			s := newSigner(SecretSpec{Secret: secret})
			for range 3 { // a kept state must give the same again
				if got := s.popsee.popsee([]byte(vectorBody)); got != v.popsee {
					t.Errorf("kept state: got %s, want %s", got, v.popsee)
				}
				if got := string(s.standard.standard(nil, vectorID, vectorAtUnix, []byte(vectorBody))); got != v.standard {
					t.Errorf("got %s, want %s", got, v.standard)
				}
			}
		})
	}
}

func TestStandardWebhooksLibraryVerifies(t *testing.T) {
	raw := func(s string) (*standardwebhooks.Webhook, error) { return standardwebhooks.NewWebhookRaw([]byte(s)) }
	for name, v := range map[string]struct {
		secret string
		open   func(string) (*standardwebhooks.Webhook, error)
	}{
		"a whsec_ secret":  {vectorWhsec, standardwebhooks.NewWebhook},
		"any other secret": {"höchst gehéim", raw},
	} {
		t.Run(name, func(t *testing.T) {
			theirs, err := v.open(v.secret)
			if err != nil {
				t.Fatal(err)
			}
			target := mustTarget(t, TargetSpec{URL: "https://example.com/", Secrets: []SecretSpec{
				{Secret: mustSecret(t, "the newer one")}, {Secret: mustSecret(t, v.secret)},
			}})
			sent := buildHeader(t, target, Meta{Number: 1}, time.Now())
			got := http.Header{}
			for name, values := range sent { // as a server reads them
				got[http.CanonicalHeaderKey(name)] = values
			}
			if err := theirs.Verify(testEvent().Body, got); err != nil {
				t.Errorf("got %v, want their library to accept it", err)
			}
			if err := theirs.Verify([]byte("tampered"), got); err == nil {
				t.Error("their library accepts a tampered body")
			}
		})
	}
}

func TestKeptStateIsSafeForConcurrentUse(t *testing.T) {
	k := newKey(vectorPlain)
	want := k.popsee([]byte(vectorBody))
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 200 {
				if got := k.popsee([]byte(vectorBody)); got != want {
					t.Errorf("got %s, want %s", got, want)
				}
			}
		})
	}
	wg.Wait()
}

func TestVerifySaysWhatIsWrong(t *testing.T) {
	secret, body := mustSecret(t, vectorPlain), []byte(vectorBody)
	good := Sign(secret, body)
	for name, v := range map[string]struct {
		secret    Secret
		signature string
		body      string
		want      error
	}{
		"what was signed":          {secret, good, vectorBody, nil},
		"no secret":                {Secret{}, good, vectorBody, ErrNoSecret},
		"no header":                {secret, "", vectorBody, ErrSignatureMissing},
		"hex without its prefix":   {secret, good[len("sha256="):], vectorBody, ErrSignatureMalformed},
		"another algorithm":        {secret, strings.Replace(good, "sha256", "sha512", 1), vectorBody, ErrSignatureMalformed},
		"upper-case hex":           {secret, "sha256=" + strings.ToUpper(good[7:]), vectorBody, ErrSignatureMalformed},
		"a digit short":            {secret, good[:len(good)-1], vectorBody, ErrSignatureMalformed},
		"a newline after it":       {secret, good + "\n", vectorBody, ErrSignatureMalformed},
		"two of them":              {secret, good + "," + good, vectorBody, ErrSignatureMalformed},
		"a tampered signature":     {secret, flipLast(good), vectorBody, ErrSignatureMismatch},
		"a tampered body":          {secret, good, vectorBody + " ", ErrSignatureMismatch},
		"another secret":           {mustSecret(t, "mine"), good, vectorBody, ErrSignatureMismatch},
		"the secret with a blank":  {mustSecret(t, vectorPlain+" "), good, vectorBody, ErrSignatureMismatch},
		"a body encoded once more": {secret, good, strings.Replace(vectorBody, "9007199254740993", "9007199254740992", 1), ErrSignatureMismatch},
	} {
		if err := Verify(v.secret, v.signature, []byte(v.body)); !errors.Is(err, v.want) || (err == nil) != (v.want == nil) {
			t.Errorf("%s: got %v, want %v", name, err, v.want)
		}
	}
	if got := Sign(Secret{}, body); got != "" {
		t.Errorf("no secret signs as %q, want nothing", got)
	}
}

func flipLast(s string) string {
	if s[len(s)-1] == '0' {
		return s[:len(s)-1] + "1"
	}
	return s[:len(s)-1] + "0"
}

func FuzzVerify(f *testing.F) {
	f.Add(vectorPlain, "sha256=6af58bff74e5e202bf27167a6d5c80c7367b79f2e80631cb0f7e13bea5812369", []byte(vectorBody))
	f.Add(vectorWhsec, "sha256=fdbf4177eff67ba24d1b3a9499bfa68b4f3cc2b3f704f751a4e6e1f70a999043", []byte(vectorBody))
	f.Add("x", "", []byte(nil))
	f.Add("x", "sha256=", []byte("{}"))
	f.Add("x", "sha256="+strings.Repeat("g", 64), []byte("{}"))
	f.Add("x", "SHA256="+strings.Repeat("0", 64), []byte("{}"))
	f.Fuzz(func(t *testing.T, text, signature string, body []byte) {
		secret, err := NewSecret(text)
		if err != nil {
			return
		}
		good := Sign(secret, body)
		if err := Verify(secret, good, body); err != nil {
			t.Fatalf("our own signature: %v", err)
		}
		if err := Verify(secret, signature, body); (err == nil) != (signature == good) {
			t.Fatalf("signature %q: got %v", signature, err)
		}
		if err := Verify(secret, good, append([]byte("x"), body...)); err == nil {
			t.Fatal("a longer body passes")
		}
	})
}
