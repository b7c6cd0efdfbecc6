package delivery

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
)

// refusedAlways lists URLs no setting makes acceptable.
var refusedAlways = map[string]string{
	"nothing":                     "",
	"no scheme":                   "example.com/hook",
	"scheme-relative":             "//example.com/hook",
	"file":                        "file:///etc/passwd",
	"gopher":                      "gopher://example.com:70/_x",
	"ftp":                         "ftp://example.com/",
	"unix":                        "unix:///run/docker.sock",
	"data":                        "data:text/plain,x",
	"javascript":                  "javascript:alert(1)",
	"opaque":                      "https:example.com",
	"no host":                     "https:///path",
	"a port without host":         "https://:443/",
	"a user":                      "https://a@127.0.0.1/",
	"a user and password":         "https://user:pass@example.com/",
	"an empty user":               "https://@example.com/",
	"a fragment that hides @":     "https://example.com#@127.0.0.1/",
	"an empty fragment":           "https://example.com/#",
	"a backslash host":            `https://example.com\@127.0.0.1/`,
	"a backslash in the path":     `https://example.com/a\b`,
	"CR LF":                       "https://example.com/\r\nX-Evil: 1",
	"CR LF in the host":           "https://example.com\r\n.evil.com/",
	"a tab":                       "https://exa\tmple.com/",
	"a blank":                     "https://example.com/a b",
	"a leading blank":             " https://example.com/",
	"NUL":                         "https://example.com/\x00",
	"invalid UTF-8":               "https://example.com/\xff",
	"8 kB":                        "https://example.com/" + strings.Repeat("a", 8<<10),
	"2049 bytes":                  "https://example.com/" + strings.Repeat("a", 2049-len("https://example.com/")),
	"port 0":                      "https://example.com:0/",
	"port 22":                     "https://example.com:22/",
	"port 25":                     "https://example.com:25/",
	"port 4222":                   "https://example.com:4222/",
	"port 6222":                   "https://example.com:6222/",
	"port 8222":                   "https://example.com:8222/",
	"port 65536":                  "https://example.com:65536/",
	"port -1":                     "https://example.com:-1/",
	"a port that is text":         "https://example.com:https/",
	"an empty port":               "https://example.com:/",
	"the unspecified address":     "https://0.0.0.0/",
	"[::]":                        "https://[::]/",
	"0":                           "https://0/",
	"127.1":                       "https://127.1/",
	"an address as one number":    "https://2130706433/",
	"an address in hex":           "https://0x7f000001/",
	"an address in hex parts":     "https://0x7f.0.0.1/",
	"hex in the last part":        "https://127.0.0.0x1/",
	"an address in octal":         "https://0177.0.0.1/",
	"five numbers":                "https://1.2.3.4.5/",
	"a link-local with zone":      "https://[fe80::1%25eth0]/",
	"a link-local":                "https://[fe80::1]/",
	"AWS metadata":                "https://169.254.169.254/latest/meta-data/",
	"AWS metadata, mapped":        "https://[::ffff:169.254.169.254]/",
	"AWS metadata, NAT64":         "https://[64:ff9b::a9fe:a9fe]/",
	"AWS metadata, IPv6":          "https://[fd00:ec2::254]/",
	"AWS container credentials":   "https://169.254.170.2/",
	"Azure's wire server":         "https://168.63.129.16/",
	"Alibaba metadata":            "https://100.100.100.200/",
	"Oracle metadata":             "https://192.0.0.192/",
	"GCP metadata by name":        "https://metadata.google.internal/",
	"GCP metadata, dot and case":  "https://MetaData.Google.Internal./",
	"metadata by its short name":  "https://metadata/",
	"multicast":                   "https://224.0.0.1/",
	"multicast, IPv6":             "https://[ff02::1]/",
	"broadcast":                   "https://255.255.255.255/",
	"an empty label":              "https://a..example.com/",
	"dots alone":                  "https://../",
	"a percent-encoded host":      "https://%31%32%37.0.0.1/",
	"a label of 64":               "https://" + strings.Repeat("a", 64) + ".com/",
	"a host of 254":               "https://" + strings.Repeat("a.", 126) + "aa/",
	"a broken bracket":            "https://[::1/",
	"a host with a comma":         "https://example.com,127.0.0.1/",
	"full-width digits, metadata": "https://１６９.２５４.１６９.２５４/",
}

// refusedByDefault lists URLs that only development or an allow list makes acceptable.
var refusedByDefault = map[string]string{
	"http":                    "http://example.com/",
	"port 80":                 "https://example.com:80/",
	"loopback":                "https://127.0.0.1/",
	"loopback, another":       "https://127.9.9.9:8443/",
	"loopback, dot":           "https://127.0.0.1./",
	"loopback, full-width":    "https://１２７.0.0.1/",
	"[::1]":                   "https://[::1]/",
	"loopback, mapped":        "https://[::ffff:127.0.0.1]/",
	"loopback, mapped in hex": "https://[::ffff:7f00:1]/",
	"localhost":               "https://localhost/",
	"LOCALHOST.":              "https://LOCALHOST./",
	"foo.localhost":           "https://foo.localhost/",
	"a single label":          "https://receiver/",
	"a private zone":          "https://db.internal/",
}

// refusedWithoutAllow lists addresses that development does not open either.
var refusedWithoutAllow = map[string]string{
	"10/8":                 "https://10.0.0.1/",
	"172.16/12":            "https://172.31.255.255/",
	"192.168/16":           "https://192.168.1.1/",
	"100.64/10":            "https://100.64.0.1/",
	"198.18/15":            "https://198.18.0.1/",
	"240/4":                "https://240.0.0.1/",
	"192.0.2/24":           "https://192.0.2.1/",
	"unique local":         "https://[fc00::1]/",
	"discard only":         "https://[100::1]/",
	"IPv4-compatible":      "https://[::127.0.0.1]/",
	"NAT64":                "https://[64:ff9b::7f00:1]/",
	"local NAT64":          "https://[64:ff9b:1::7f00:1]/",
	"6to4":                 "https://[2002:7f00:1::]/",
	"Teredo":               "https://[2001:0:7f00:1::80ff:fffe]/",
	"documentation":        "https://[2001:db8::1]/",
	"site-local":           "https://[fec0::1]/",
	"private, mapped":      "https://[::ffff:10.0.0.1]/",
	"ISATAP in a 6to4 net": "https://[2002:808:808::5efe:a00:1]/",
}

func TestCheckURLRefuses(t *testing.T) {
	safe, insecure := Rules{}, Rules{AllowInsecure: true}
	everything := Rules{AllowInsecure: true, Allow: []netip.Prefix{
		netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0"),
	}}
	for _, list := range []struct {
		urls  map[string]string
		rules []Rules
	}{
		{refusedAlways, []Rules{safe, insecure, everything}},
		{refusedByDefault, []Rules{safe}},
		{refusedWithoutAllow, []Rules{safe, insecure}},
	} {
		for name, raw := range list.urls {
			t.Run(name, func(t *testing.T) {
				for _, r := range list.rules {
					u, err := r.CheckURL(raw)
					var refused *URLError
					if !errors.As(err, &refused) {
						t.Errorf("insecure %t: got %v %v, want a URLError", r.AllowInsecure, u, err)
						continue
					}
					if refused.Problem == "" || refused.Hint == "" {
						t.Errorf("got %+v, want a problem and a hint", refused)
					}
				}
			})
		}
	}
}

func TestCheckURLOpensWhatIsMeantToBeOpened(t *testing.T) {
	for name, raw := range refusedByDefault {
		if _, err := (Rules{AllowInsecure: true}).CheckURL(raw); err != nil {
			t.Errorf("%s: got %v, want it accepted for development", name, err)
		}
	}
	private := Rules{Allow: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fc00::/7")}}
	for _, raw := range []string{"https://10.1.2.3/", "https://[fc00::1]/", "https://[::ffff:10.0.0.1]/", "https://receiver/", "https://hooks.internal/"} {
		if _, err := private.CheckURL(raw); err != nil {
			t.Errorf("%s: got %v, want it accepted by the allow list", raw, err)
		}
	}
	for _, raw := range []string{"https://192.168.0.1/", "https://localhost/", "https://[fd00:ec2::254]/"} {
		if _, err := private.CheckURL(raw); err == nil {
			t.Errorf("%s: accepted, want only what is on the allow list", raw)
		}
	}
}

func TestCheckURLTakesPublicOnesAsTheyAre(t *testing.T) {
	for raw, want := range map[string]string{
		"https://example.com":                        "https://example.com",
		"https://example.com/":                       "https://example.com/",
		"HTTPS://Example.COM/Hook?Key=A%20b&x":       "https://example.com/Hook?Key=A%20b&x",
		"https://example.com.:8443/a":                "https://example.com:8443/a",
		"https://example.com:443/a//b/../c%2Fd;e=1?": "https://example.com:443/a//b/../c%2Fd;e=1?",
		"https://bücher.example/":                    "https://xn--bcher-kva.example/",
		"https://under_score.example.com/":           "https://under_score.example.com/",
		"https://r3---a.example.com/":                "https://r3---a.example.com/",
		"https://8.8.8.8/":                           "https://8.8.8.8/",
		"https://[2606:4700::1111]:8443/":            "https://[2606:4700::1111]:8443/",
		"https://1.example":                          "https://1.example",
		"https://example.com/hook?u=http://a@b":      "https://example.com/hook?u=http://a@b",
	} {
		u, err := Rules{}.CheckURL(raw)
		if err != nil {
			t.Errorf("%s: %v", raw, err)
			continue
		}
		if u.String() != want {
			t.Errorf("%s: got %s, want %s", raw, u, want)
		}
	}
}

func TestURLErrorsQuoteNothing(t *testing.T) {
	for _, raw := range []string{
		"https://user:hush@example.com/", "https://example.com/hush hush", "https://example.com:22/hush",
		"https://10.0.0.1/hush", "https://exa mple/hush", "ftp://example.com/hush", "https://[::1/hush", "https://%zz/hush",
	} {
		if _, err := (Rules{}).CheckURL(raw); err == nil || strings.Contains(err.Error(), "hush") {
			t.Errorf("%s: got %v, want a refusal without the URL", raw, err)
		}
	}
}

func TestHostSpellsThePortOut(t *testing.T) {
	for raw, want := range map[string]string{
		"https://Example.com/secret":     "example.com:443",
		"https://example.com:443/":       "example.com:443",
		"https://example.com.:8443/":     "example.com:8443",
		"http://localhost":               "localhost:80",
		"https://[2606:4700::1111]/a":    "[2606:4700::1111]:443",
		"http://127.0.0.1:9000/?key=abc": "127.0.0.1:9000",
	} {
		if got := mustTarget(t, TargetSpec{URL: raw}).Host(); got != want {
			t.Errorf("%s: got %s, want %s", raw, got, want)
		}
	}
}

func TestCheckHeaders(t *testing.T) {
	many := map[string]string{}
	for i := range 33 {
		many["X-"+strings.Repeat("a", i+1)] = "1"
	}
	for name, v := range map[string]struct {
		headers map[string]string
		ok      bool
	}{
		"none":                   {nil, true},
		"usual ones":             {map[string]string{"Authorization": "Bearer abc", "X-Tenant": "7", "accept": "*/*"}, true},
		"an empty value":         {map[string]string{"X-Empty": ""}, true},
		"33 of them":             {many, false},
		"no name":                {map[string]string{"": "1"}, false},
		"a blank in the name":    {map[string]string{"X A": "1"}, false},
		"a colon in the name":    {map[string]string{"X:A": "1"}, false},
		"a pseudo header":        {map[string]string{":path": "/"}, false},
		"a long name":            {map[string]string{"X-" + strings.Repeat("a", 127): "1"}, false},
		"a value of 1024":        {map[string]string{"X-A": strings.Repeat("a", 1024)}, true},
		"a value of 1025":        {map[string]string{"X-A": strings.Repeat("a", 1025)}, false},
		"a line break":           {map[string]string{"X-A": "a\r\nX-Evil: 1"}, false},
		"NUL":                    {map[string]string{"X-A": "\x00"}, false},
		"a blank around":         {map[string]string{"X-A": " a"}, false},
		"the same in two cases":  {map[string]string{"X-A": "1", "x-a": "2"}, false},
		"our signature":          {map[string]string{"x-popsee-signature": "sha256=0"}, false},
		"one we may yet have":    {map[string]string{"X-Popsee-New": "1"}, false},
		"a standard one":         {map[string]string{"Webhook-Id": "1"}, false},
		"the content type":       {map[string]string{"content-type": "text/plain"}, false},
		"the length":             {map[string]string{"Content-Length": "1"}, false},
		"the host":               {map[string]string{"host": "127.0.0.1"}, false},
		"who we are":             {map[string]string{"USER-AGENT": "curl"}, false},
		"the trace":              {map[string]string{"Traceparent": "1"}, false},
		"the framing":            {map[string]string{"Transfer-Encoding": "chunked"}, false},
		"the connection":         {map[string]string{"Connection": "close"}, false},
		"an upgrade":             {map[string]string{"Upgrade": "h2c"}, false},
		"a proxy's":              {map[string]string{"Proxy-Authorization": "x"}, false},
		"a wait before the body": {map[string]string{"Expect": "100-continue"}, false},
		"a hidden retry":         {map[string]string{"Idempotency-Key": "1"}, false},
		"another hidden retry":   {map[string]string{"X-Idempotency-Key": "1"}, false},
	} {
		err := CheckHeaders(v.headers)
		if (err == nil) != v.ok || (err != nil && !errors.Is(err, ErrHeaders)) {
			t.Errorf("%s: got %v, want accepted: %t", name, err, v.ok)
		}
	}
	if err := CheckHeaders(map[string]string{"X-A": "hush\n"}); strings.Contains(err.Error(), "hush") {
		t.Errorf("the error quotes a value: %v", err)
	}
}

func TestNewTargetRefusesWhatCannotBeSent(t *testing.T) {
	for name, s := range map[string]TargetSpec{
		"a URL":           {URL: "http://example.com"},
		"a header":        {URL: "https://example.com", Headers: map[string]string{"Host": "x"}},
		"an empty secret": {URL: "https://example.com", Secrets: []SecretSpec{{}}},
	} {
		if target, err := NewTarget(s, Rules{}); err == nil {
			t.Errorf("%s: got %v, want an error", name, target)
		}
	}
}
