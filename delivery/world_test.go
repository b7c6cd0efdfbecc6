package delivery

import "testing"

func mustSecret(t testing.TB, s string) Secret {
	t.Helper()
	secret, err := NewSecret(s)
	if err != nil {
		t.Fatal(err)
	}
	return secret
}
