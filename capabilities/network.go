package capabilities

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// network finds the host's interfaces and addresses.
type network struct{}

func (network) Name() string { return "network" }

func (network) Probe(_ context.Context, h Host) (func(*Report), error) {
	v4, err := h.readSome("proc/net/fib_trie", 1<<20)
	if err != nil {
		err = fmt.Errorf("IPv4 addresses: %w", err)
	}
	v6, _ := h.readSome("proc/net/if_inet6", 256<<10) // not there without IPv6
	table, _ := h.readSome("proc/net/route", 256<<10)
	table6, _ := h.readSome("proc/net/ipv6_route", 256<<10)
	routes := append(parseRoutes(table), parseRoutes6(table6)...)
	own := interfaceAddresses(parseFibTrie(v4), routes, v6)
	if h.isLive() {
		if known := liveAddresses(); known != nil {
			own = known
		}
	}
	var all []Interface
	for _, name := range h.names("sys/class/net") {
		if i, ok := h.netInterface(name); ok {
			i.Addresses = own[name]
			i.DefaultRoute, i.Gateway = defaultRoute(routes, name)
			all = append(all, i)
		}
	}
	return func(r *Report) { r.Addresses, r.Interfaces = addresses(v4, v6), all }, err
}

// netInterface describes an interface; ok is false for one that is of no interest.
func (h Host) netInterface(name string) (i Interface, ok bool) {
	dir := "sys/class/net/" + name
	const loopback = "772" // ARPHRD_LOOPBACK, and the others below, of if_arp.h
	sort := h.text(dir + "/type")
	if sort == "" || sort == loopback || strings.HasPrefix(name, "veth") {
		return i, false
	}
	i = Interface{Name: clean(name), Kind: "ethernet", Driver: h.target(dir + "/device/driver")}
	switch {
	case h.exists(dir+"/wireless") || h.exists(dir+"/phy80211"):
		i.Kind = "wireless"
	case sort == "280":
		i.Kind = "can"
	case strings.HasPrefix(name, "wwan") || i.Driver == "qmi_wwan" || i.Driver == "cdc_mbim":
		i.Kind = "cellular"
	case !h.exists(dir + "/device"):
		i.Kind = "virtual"
	}
	state := h.text(dir + "/operstate")
	flags := h.number(dir + "/flags")
	i.Up = state == "up" || state == "unknown" && flags&1 != 0 // drivers that do not tell
	if speed := h.number(dir + "/speed"); speed > 0 && speed < 10_000_000 && i.Kind != "virtual" {
		i.SpeedMbps = int(speed) // -1 or an error while there is no link
	}
	return i, true
}

func liveAddresses() map[string][]string {
	all, err := net.Interfaces()
	if err != nil {
		return nil
	}
	out := map[string][]string{}
	for _, i := range all {
		addrs, _ := i.Addrs()
		for _, a := range addrs {
			if p, err := netip.ParsePrefix(a.String()); err == nil {
				out[i.Name] = append(out[i.Name], p.String())
			}
		}
	}
	return out
}

type route struct {
	device  string
	to      netip.Prefix
	gateway netip.Addr
	metric  uint64
}

// parseRoutes reads /proc/net/route, whose addresses are of the byte order of
// the machine; all that edgeIO runs on are little-endian.
func parseRoutes(text string) []route {
	var out []route
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) < 8 {
			continue
		}
		to, ok1 := hexV4(f[1])
		via, ok2 := hexV4(f[2])
		mask, ok3 := hexV4(f[7])
		metric, err := strconv.ParseUint(f[6], 10, 32)
		if ok1 && ok2 && ok3 && err == nil {
			ones, _ := net.IPMask(mask.AsSlice()).Size()
			out = append(out, route{device: clean(f[0]), to: netip.PrefixFrom(to, ones), gateway: via, metric: metric})
		}
	}
	return out
}

func hexV4(s string) (netip.Addr, bool) {
	n, err := strconv.ParseUint(s, 16, 32)
	var b [4]byte
	binary.LittleEndian.PutUint32(b[:], uint32(n))
	return netip.AddrFrom4(b), err == nil && len(s) == 8
}

// parseRoutes6 reads /proc/net/ipv6_route.
func parseRoutes6(text string) []route {
	var out []route
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) < 10 {
			continue
		}
		to, ok1 := hexV6(f[0])
		via, ok2 := hexV6(f[4])
		bits, err1 := strconv.ParseUint(f[1], 16, 8)
		metric, err2 := strconv.ParseUint(f[5], 16, 64)
		if ok1 && ok2 && err1 == nil && err2 == nil && bits <= 128 {
			out = append(out, route{device: clean(f[9]), to: netip.PrefixFrom(to, int(bits)), gateway: via, metric: metric})
		}
	}
	return out
}

func hexV6(s string) (netip.Addr, bool) {
	raw, err := hex.DecodeString(s)
	a, ok := netip.AddrFromSlice(raw)
	return a, err == nil && ok && a.Is6()
}

// defaultRoute tells whether an interface has a route to everywhere, and by which gateway.
func defaultRoute(routes []route, device string) (bool, string) {
	for _, r := range routes {
		if r.device == device && r.to.IsValid() && r.to.Bits() == 0 && r.to.Addr().IsUnspecified() {
			if r.gateway.IsUnspecified() {
				return true, "" // a point-to-point link
			}
			return true, r.gateway.String()
		}
	}
	return false, ""
}

// interfaceAddresses puts the host's own addresses to interfaces: the files
// tell of IPv4 only which networks an interface leads to.
func interfaceAddresses(own []netip.Addr, routes []route, ifInet6 string) map[string][]string {
	out := map[string][]string{}
	for _, a := range own {
		best, on := -1, ""
		for _, r := range routes {
			if r.to.IsValid() && r.to.Contains(a) && r.to.Bits() > max(best, 0) {
				best, on = r.to.Bits(), r.device
			}
		}
		if on != "" {
			out[on] = append(out[on], netip.PrefixFrom(a, best).String())
		}
	}
	for line := range strings.Lines(ifInet6) {
		f := strings.Fields(line)
		if len(f) < 6 {
			continue
		}
		a, ok := hexV6(f[0])
		bits, err := strconv.ParseUint(f[2], 16, 8)
		if ok && err == nil && bits <= 128 {
			out[f[5]] = append(out[f[5]], netip.PrefixFrom(a, int(bits)).String())
		}
	}
	return out
}

// parseFibTrie reads the host's own IPv4 addresses out of /proc/net/fib_trie,
// where they are the leaves "/32 host LOCAL".
func parseFibTrie(text string) []netip.Addr {
	var all []netip.Addr
	var leaf string
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if rest, ok := strings.CutPrefix(line, "|-- "); ok {
			leaf = rest
		} else if line == "/32 host LOCAL" {
			if a, err := netip.ParseAddr(leaf); err == nil {
				all = append(all, a)
			}
		}
	}
	slices.SortFunc(all, netip.Addr.Compare)
	return slices.Compact(all)
}

// addresses are the host's own ones that others may reach.
func addresses(fibTrie, ifInet6 string) []string {
	all := parseFibTrie(fibTrie)
	for line := range strings.Lines(ifInet6) {
		digits, _, _ := strings.Cut(strings.TrimSpace(line), " ")
		if a, ok := hexV6(digits); ok {
			all = append(all, a)
		}
	}
	all = slices.DeleteFunc(all, func(a netip.Addr) bool { return !a.IsGlobalUnicast() })
	slices.SortFunc(all, netip.Addr.Compare)
	texts := []string{}
	for _, a := range slices.Compact(all) {
		texts = append(texts, a.String())
	}
	return texts
}
