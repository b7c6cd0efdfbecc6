package bus_test

import (
	"crypto/tls"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"github.com/popsee/webhooks/cmd/webhooks/internal/bus"
	"github.com/popsee/webhooks/config"
	"github.com/popsee/webhooks/delivery/leaktest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func serve(t *testing.T, o server.Options) *server.Server {
	t.Helper()
	o.Host, o.NoSigs, o.NoLog = "127.0.0.1", true, true
	if o.Port == 0 {
		o.Port = server.RANDOM_PORT
	}
	s, err := server.NewServer(&o)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("the server did not start")
	}
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	return s
}

func connect(s config.NATSSettings) (*nats.Conn, error) {
	return bus.Connect(s, bus.Options{Name: "test", Log: zerolog.Nop()})
}

func wantConnected(t *testing.T, s config.NATSSettings) {
	t.Helper()
	nc, err := connect(s)
	if err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Error(err)
	}
	nc.Close()
}

func TestEveryWayToSayWhoOneIs(t *testing.T) {
	user, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	public, err := user.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	seed, err := user.Seed()
	if err != nil {
		t.Fatal(err)
	}
	seedFile := filepath.Join(t.TempDir(), "user.nk")
	if err := os.WriteFile(seedFile, seed, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Run("nobody in particular", func(t *testing.T) {
		wantConnected(t, config.NATSSettings{URL: serve(t, server.Options{}).ClientURL()})
	})
	t.Run("user and password", func(t *testing.T) {
		s := serve(t, server.Options{Username: "me", Password: "sesame"})
		wantConnected(t, config.NATSSettings{URL: s.ClientURL(), User: "me", Password: "sesame"})
	})
	t.Run("token", func(t *testing.T) {
		s := serve(t, server.Options{Authorization: "token"})
		wantConnected(t, config.NATSSettings{URL: s.ClientURL(), User: "token"})
	})
	t.Run("nkey", func(t *testing.T) {
		s := serve(t, server.Options{Nkeys: []*server.NkeyUser{{Nkey: public}}})
		wantConnected(t, config.NATSSettings{URL: s.ClientURL(), NKey: seedFile})
	})
	t.Run("a context of the NATS command line", func(t *testing.T) {
		s := serve(t, server.Options{Username: "me", Password: "sesame"})
		home := t.TempDir()
		t.Setenv("XDG_CONFIG_HOME", home)
		dir := filepath.Join(home, "nats", "context")
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "mine.json"), []byte(`{"url":"`+s.ClientURL()+`","user":"me","password":"sesame"}`), 0o600); err != nil {
			t.Fatal(err)
		}
		wantConnected(t, config.NATSSettings{Context: "mine"})
	})
}

// TestTLSAndMutualTLS connects to a server that shows a certificate of an
// authority of its own, and to one that also wants to see the client's.
func TestTLSAndMutualTLS(t *testing.T) {
	dir := t.TempDir()
	ca := newAuthority(t, dir)
	cert, key := ca.issue(t, dir, "server")
	clientCert, clientKey := ca.issue(t, dir, "client")
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	config1 := &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
	mutual := config1.Clone()
	mutual.ClientAuth, mutual.ClientCAs = tls.RequireAndVerifyClientCert, ca.Pool
	plain := serve(t, server.Options{TLSConfig: config1, TLSTimeout: 5})
	both := serve(t, server.Options{TLSConfig: mutual, TLSTimeout: 5})
	wantConnected(t, config.NATSSettings{URL: plain.ClientURL(), CA: ca.file})
	wantConnected(t, config.NATSSettings{URL: both.ClientURL(), CA: ca.file, Cert: clientCert, Key: clientKey})
	if _, err := connect(config.NATSSettings{URL: plain.ClientURL()}); err == nil {
		t.Error("a certificate of an unknown authority is taken")
	}
	if _, err := connect(config.NATSSettings{URL: both.ClientURL(), CA: ca.file}); err == nil {
		t.Error("connected without the certificate the server wants")
	}
}

// TestACredentialsFile connects with a JWT to a server in operator mode.
func TestACredentialsFile(t *testing.T) {
	operator, err := nkeys.CreateOperator()
	if err != nil {
		t.Fatal(err)
	}
	account, err := nkeys.CreateAccount()
	if err != nil {
		t.Fatal(err)
	}
	user, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	operatorKey, _ := operator.PublicKey()
	accountKey, _ := account.PublicKey()
	userKey, _ := user.PublicKey()
	claims := jwt.NewOperatorClaims(operatorKey)
	operatorJWT, err := claims.Encode(operator)
	if err != nil {
		t.Fatal(err)
	}
	trusted, err := jwt.DecodeOperatorClaims(operatorJWT)
	if err != nil {
		t.Fatal(err)
	}
	accountJWT, err := jwt.NewAccountClaims(accountKey).Encode(operator)
	if err != nil {
		t.Fatal(err)
	}
	userJWT, err := jwt.NewUserClaims(userKey).Encode(account)
	if err != nil {
		t.Fatal(err)
	}
	seed, err := user.Seed()
	if err != nil {
		t.Fatal(err)
	}
	creds, err := jwt.FormatUserConfig(userJWT, seed)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "user.creds")
	if err := os.WriteFile(file, creds, 0o600); err != nil {
		t.Fatal(err)
	}
	resolver := &server.MemAccResolver{}
	if err := resolver.Store(accountKey, accountJWT); err != nil {
		t.Fatal(err)
	}
	s := serve(t, server.Options{TrustedOperators: []*jwt.OperatorClaims{trusted}, AccountResolver: resolver})
	wantConnected(t, config.NATSSettings{URL: s.ClientURL(), Creds: file})
	if _, err := connect(config.NATSSettings{URL: s.ClientURL()}); err == nil {
		t.Error("connected without credentials")
	}
}

func TestWhatGoesWrongIsSaidWithoutThePassword(t *testing.T) {
	const password = "open-sesame"
	s := serve(t, server.Options{Username: "me", Password: "other"})
	taken := s.Addr().String()
	for name, c := range map[string]struct {
		s    config.NATSSettings
		hint string
	}{
		"wrong password": {config.NATSSettings{URL: s.ClientURL(), User: "me", Password: password}, "check the credentials"},
		"password in the URL": {
			config.NATSSettings{URL: "nats://me:" + password + "@" + taken}, "check the credentials",
		},
		"nothing there":      {config.NATSSettings{URL: "nats://me:" + password + "@127.0.0.1:1"}, "is that NATS running"},
		"no such creds file": {config.NATSSettings{URL: s.ClientURL(), Creds: "missing.creds"}, "readable by this user"},
		"no such context":    {config.NATSSettings{Context: "missing"}, "nats context ls"},
	} {
		_, err := connect(c.s)
		var u *bus.Unreachable
		if !errors.As(err, &u) || !strings.Contains(u.Hint(), c.hint) {
			t.Errorf("%s: got %v", name, err)
			continue
		}
		leaktest.Plant(t, password).In(t, name, []byte(err.Error()+u.Hint()))
	}
}

func TestTheConnectionComesBackAndPublishesNothingBlindly(t *testing.T) {
	s := serve(t, server.Options{})
	port := s.Addr().String()
	nc, err := connect(config.NATSSettings{URL: "nats://" + port})
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	back := nc.StatusChanged(nats.CONNECTED)
	away := nc.StatusChanged(nats.RECONNECTING)
	s.Shutdown()
	s.WaitForShutdown()
	<-away
	if err := nc.Publish("x", nil); err == nil {
		t.Error("a publish while NATS is away is kept silently")
	}
	_, portNumber, _ := strings.Cut(port, ":")
	var n int
	for _, d := range portNumber {
		n = 10*n + int(d-'0')
	}
	serve(t, server.Options{Port: n})
	<-back
}
