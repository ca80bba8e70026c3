package meta

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/bridle-kv/bridle/pkg/rpc"
)

// DefaultPort is the port of a meta server that is given without one.
const DefaultPort = 34601

// seed is one configured address.
type seed struct {
	host string
	port uint16
	name bool // host is a name, to be resolved
}

func (s seed) String() string { return net.JoinHostPort(s.host, strconv.Itoa(int(s.port))) }

// parseSeeds reads the list of meta servers: elements, each of which may itself be a comma list, in
// the forms host, host:port, IPv4, IPv4:port, IPv6, [IPv6]:port. Duplicates count once.
func parseSeeds(list []string) ([]seed, error) {
	var seeds []seed
	for _, element := range list {
		for text := range strings.SplitSeq(element, ",") {
			s, err := parseSeed(strings.TrimSpace(text))
			if err != nil {
				return nil, err
			}
			if !slices.Contains(seeds, s) {
				seeds = append(seeds, s)
			}
		}
	}
	if len(seeds) == 0 {
		return nil, fmt.Errorf("%w: the list is empty", ErrAddress)
	}
	return seeds, nil
}

func parseSeed(text string) (seed, error) {
	host, portText, err := net.SplitHostPort(text)
	if err != nil { // without a port
		host, portText = text, strconv.Itoa(DefaultPort)
		if strings.HasPrefix(host, "[") && strings.HasSuffix(host, "]") {
			host = host[1 : len(host)-1]
		}
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil || port == 0 {
		return seed{}, fmt.Errorf("%w: %q", ErrAddress, text)
	}
	ip, err := netip.ParseAddr(host)
	switch {
	case err == nil && isPlain(ip.Zone()):
		return seed{host: ip.Unmap().String(), port: uint16(port)}, nil
	case err != nil && isName(host):
		return seed{host: host, port: uint16(port), name: true}, nil
	}
	return seed{}, fmt.Errorf("%w: %q", ErrAddress, text)
}

// isName says whether text can be the name of a host. One that ends in a number cannot: it is an
// IPv4 address with a mistake in it.
func isName(text string) bool {
	text = strings.TrimSuffix(text, ".")
	last := text[strings.LastIndexByte(text, '.')+1:]
	return isPlain(text) && strings.Trim(last, "0123456789") != ""
}

// isPlain says whether text has only characters that a name can have. Those beyond ASCII are left to
// the resolver to judge.
func isPlain(text string) bool {
	return !strings.ContainsFunc(text, func(r rune) bool {
		return r < utf8.RuneSelf && !('a' <= r|0x20 && r|0x20 <= 'z' || '0' <= r && r <= '9' || strings.ContainsRune("-_.", r))
	})
}

// ResolveFunc returns the addresses that a host name stands for, IPv4 and IPv6.
type ResolveFunc func(ctx context.Context, host string) ([]netip.Addr, error)

func resolveWithSystem(ctx context.Context, host string) ([]netip.Addr, error) {
	return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
}

// initialState holds the configured addresses; names stand for themselves until they are resolved,
// and can be dialled as they are.
func initialState(seeds []seed, pool *rpc.Pool) *State {
	s := &State{}
	for _, sd := range seeds {
		s.Members = append(s.Members, Member{Address: sd.String(), Node: pool.Node(sd.String())})
	}
	return s
}

// resolve returns the members that a configured name stands for now.
func (m *MetaManager) resolve(ctx context.Context, sd seed) ([]Member, error) {
	ctx, cancel := context.WithTimeout(ctx, m.options.ResolveTimeout)
	defer cancel()
	addresses, err := m.options.Resolve(ctx, sd.host)
	if err != nil {
		return nil, fmt.Errorf("resolve meta server %q: %w", sd.host, err)
	}
	members := make([]Member, 0, len(addresses))
	for _, ip := range addresses {
		address := netip.AddrPortFrom(ip.Unmap(), sd.port).String()
		if ip.IsValid() {
			members = append(members, Member{
				Address: address, Node: m.pool.Node(address), Source: Resolved, Name: sd.String(),
			})
		}
	}
	if len(members) == 0 {
		return nil, fmt.Errorf("resolve meta server %q: %w: it stands for nothing", sd.host, ErrAddress)
	}
	return members, nil
}
