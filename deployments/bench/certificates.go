package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"time"
)

// What receivers speak.
const (
	plainHTTP = "off"
	http1     = "http1" // HTTPS, HTTP/1.1 alone
	http2     = "http2" // HTTPS, HTTP/2 for those who ask for it
)

// Files in a rig's folder.
const (
	caFile       = "ca.pem"
	receiverFile = "receiver.pem" // certificate and key
)

// encrypted says whether the receivers speak HTTPS.
func (s scenario) encrypted() bool { return s.TLS == http1 || s.TLS == http2 }

// certify makes a certificate authority for one run, and a certificate of it for
// the receivers.
func (g *rig) certify() error {
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "benchmark"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "receiver"}, NotBefore: ca.NotBefore, NotAfter: ca.NotAfter,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	authority, err := signed(ca, ca, &caKey.PublicKey, caKey)
	if err != nil {
		return err
	}
	certificate, err := signed(leaf, ca, &key.PublicKey, caKey)
	if err != nil {
		return err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	if err := os.WriteFile(g.path(caFile), authority, 0o600); err != nil {
		return err
	}
	return os.WriteFile(g.path(receiverFile), append(certificate, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})...), 0o600)
}

func signed(c, by *x509.Certificate, key *ecdsa.PublicKey, with *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.CreateCertificate(rand.Reader, c, by, key, with)
	if err != nil {
		return nil, fmt.Errorf("make the certificate of %s: %w", c.Subject, err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), nil
}

// encrypt makes a receiver speak HTTPS.
func encrypt(srv *http.Server, s scenario, file string) error {
	certificate, err := tls.LoadX509KeyPair(file, file)
	if err != nil {
		return err
	}
	srv.TLSConfig = &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}
	srv.Protocols = new(http.Protocols)
	srv.Protocols.SetHTTP1(true)
	srv.Protocols.SetHTTP2(s.TLS == http2)
	return nil
}

// trusting is how a client trusts the authority in a file; nil without one.
func trusting(file string) (*tls.Config, error) {
	if file == "" {
		return nil, nil //nolint:nilnil // the system's authorities
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(b) {
		return nil, fmt.Errorf("%s holds no certificate", file)
	}
	return &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}, nil
}
