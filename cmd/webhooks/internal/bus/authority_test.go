package bus_test

import (
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"testing"

	"github.com/popsee/webhooks/delivery/hostiletest"
)

// authority writes the certificates it issues into files, which is how NATS and its
// clients are given them.
type authority struct {
	*hostiletest.Authority
	file string
}

func newAuthority(t *testing.T, dir string) *authority {
	t.Helper()
	a := &authority{hostiletest.NewAuthority(t), filepath.Join(dir, "ca.pem")}
	write(t, a.file, "CERTIFICATE", a.Cert.Raw)
	return a
}

// issue writes a certificate for 127.0.0.1, good for either side, and its key.
func (a *authority) issue(t *testing.T, dir, name string) (certFile, keyFile string) {
	t.Helper()
	cert := a.Issue(t, "127.0.0.1", hostiletest.LongLeft)
	keyDER, err := x509.MarshalECPrivateKey(cert.PrivateKey.(*ecdsa.PrivateKey))
	if err != nil {
		t.Fatal(err)
	}
	certFile, keyFile = filepath.Join(dir, name+".pem"), filepath.Join(dir, name+".key")
	write(t, certFile, "CERTIFICATE", cert.Certificate[0])
	write(t, keyFile, "EC PRIVATE KEY", keyDER)
	return certFile, keyFile
}

func write(t *testing.T, path, kind string, der []byte) {
	t.Helper()
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}
