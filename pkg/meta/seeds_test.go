package meta

import (
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/bridle-kv/bridle/pkg/rpc"
)

func TestParseSeeds(t *testing.T) {
	for name, test := range map[string]struct {
		list []string
		want string // the seeds, joined by spaces; names in parentheses
	}{
		"host":                   {[]string{"meta-1"}, "(meta-1:34601)"},
		"host and port":          {[]string{"meta-1.example.org:100"}, "(meta-1.example.org:100)"},
		"host that begins so":    {[]string{"10.0.0.1.example.org"}, "(10.0.0.1.example.org:34601)"},
		"host with final dot":    {[]string{"example.org.:1"}, "(example.org.:1)"},
		"host with underscore":   {[]string{"meta_1:65535"}, "(meta_1:65535)"},
		"host beyond ASCII":      {[]string{"müller.de"}, "(müller.de:34601)"},
		"IPv4":                   {[]string{"10.0.0.1"}, "10.0.0.1:34601"},
		"IPv4 and port":          {[]string{"10.0.0.1:8000"}, "10.0.0.1:8000"},
		"IPv6":                   {[]string{"fd00::1"}, "[fd00::1]:34601"},
		"IPv6 not in short form": {[]string{"FD00:0:0:0:0:0:0:1"}, "[fd00::1]:34601"},
		"IPv6 in brackets":       {[]string{"[fd00::1]"}, "[fd00::1]:34601"},
		"IPv6 and port":          {[]string{"[fd00::1]:8000"}, "[fd00::1]:8000"},
		"IPv6 with zone":         {[]string{"[fe80::1%eth0]:8000", "fe80::1%2"}, "[fe80::1%eth0]:8000 [fe80::1%2]:34601"},
		"IPv4 as IPv6":           {[]string{"[::ffff:10.0.0.1]:8000", "10.0.0.1:8000"}, "10.0.0.1:8000"},
		"comma list":             {[]string{"a:1,10.0.0.1, [fd00::1]:2 ,\tb"}, "(a:1) 10.0.0.1:34601 [fd00::1]:2 (b:34601)"},
		"list of comma lists":    {[]string{"a,b", "c"}, "(a:34601) (b:34601) (c:34601)"},
		"duplicates":             {[]string{"a,a:34601", "10.0.0.1:34601,10.0.0.1", "a:1"}, "(a:34601) 10.0.0.1:34601 (a:1)"},
	} {
		t.Run(name, func(t *testing.T) {
			seeds, err := parseSeeds(test.list)
			require.NoError(t, err)
			require.Equal(t, test.want, describe(seeds))
		})
	}
}

func describe(seeds []seed) string {
	var texts []string
	for _, s := range seeds {
		text := s.String()
		if s.name {
			text = "(" + text + ")"
		}
		texts = append(texts, text)
	}
	return strings.Join(texts, " ")
}

func TestBadSeeds(t *testing.T) {
	for _, bad := range []string{
		"", " ", "a,", ",a", "a,,b", ":34601", "a:", "a:0", "a:65536", "a:-1", "a:+1", "a:1.0", "a:x", "a:b:1", "http://a:1",
		"a b", "a\nb", "a\x00", "a@b:1", "a/b", "a?b", "a%b", "user:password@a:1", ".", "..", "a..:1", ":",
		"[fd00::1", "fd00::1]", "[[fd00::1]]", "]fd00::1[", "[fd00::1]34601", "[fd00::1]:", "[]:1", "[]", "[", "]",
		"[10.0.0.1", "10.0.0.256", "10.0.0", "010.0.0.1:1", "34601", "1.2.3.4.5", "fe80::1%a]b", "fe80::1%a b", "fe80::1%",
		"fd00::1::1", "fd00::12345",
	} {
		_, err := parseSeeds([]string{"10.0.0.1", bad})
		require.ErrorIs(t, err, ErrAddress, "%q", bad)
	}
	for _, none := range [][]string{nil, {}} {
		_, err := NewManager(none, newPool(t, nil), Options{})
		require.ErrorIs(t, err, ErrAddress)
	}
	_, err := NewManager([]string{"10.0.0.1:x"}, newPool(t, nil), Options{})
	require.ErrorIs(t, err, ErrAddress)
	require.ErrorContains(t, err, `"10.0.0.1:x"`)
}

// What is accepted has the form that dialers understand, means the same when it is read again, and is
// a name exactly if it is no IP address.
func checkSeeds(t require.TestingT, text string) {
	seeds, err := parseSeeds([]string{text})
	if err != nil {
		require.ErrorIs(t, err, ErrAddress)
		require.Empty(t, seeds)
		return
	}
	require.NotEmpty(t, seeds)
	require.LessOrEqual(t, len(seeds), strings.Count(text, ",")+1)
	for i, s := range seeds {
		require.NotContains(t, seeds[:i], s)
		again, err := parseSeeds([]string{s.String()})
		require.NoError(t, err)
		require.Equal(t, []seed{s}, again)
		host, _, err := net.SplitHostPort(s.String())
		require.NoError(t, err)
		require.Equal(t, s.host, host)
		require.NotZero(t, s.port)
		ip, err := netip.ParseAddr(host)
		require.Equal(t, s.name, err != nil)
		require.False(t, ip.Is4In6())
	}
}

func FuzzParseSeeds(f *testing.F) {
	for _, text := range []string{
		"a", "a:1,b", "10.0.0.1:34601", "[fe80::1%eth0]:1", "::1", "::ffff:1.2.3.4", "fe80::1%x]y", "[::1]", "[a]:1", "1.2.3",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) { checkSeeds(t, text) })
}

func TestSeedsOfAnyText(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		checkSeeds(t, rapid.StringMatching(`[\[\]a.:%,0-9f \x{e9}-]{0,20}`).Draw(t, "text"))
	})
}

func TestInitialState(t *testing.T) {
	pool, err := rpc.NewPool(rpc.Options{})
	require.NoError(t, err)
	m, err := NewManager([]string{"b:1,10.0.0.1", "b:1"}, pool, Options{})
	require.NoError(t, err)
	defer func() { require.NoError(t, m.Close(t.Context())) }()
	require.Equal(t, &State{Members: []Member{
		{Address: "b:1", Node: pool.Node("b:1")},
		{Address: "10.0.0.1:34601", Node: pool.Node("10.0.0.1:34601")},
	}}, m.State())
	require.Equal(t, "b:1", m.State().LeaderAddress())
	for _, node := range pool.Nodes() {
		require.Zero(t, node.Stats().Dials, "no I/O before the first query")
	}
}
