package mirage

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"strconv"

	"github.com/edgeio/edgeio/drivers"
)

// iptables is the path of the program that sets the rules, if it is there. The
// kernel forwards packets by itself then: no process of ours has to live for
// ports to be mapped.
func iptables() string {
	for _, path := range []string{"iptables", "/usr/sbin/iptables", "/sbin/iptables"} {
		if found, err := exec.LookPath(path); err == nil {
			return found
		}
	}
	return ""
}

// rule is one of a table and chain of iptables.
type rule struct {
	table, chain string
	match        []string
}

// baseRules let guests out, as the node, and answers in. What comes from
// outside reaches a guest on mapped ports only.
func (n *network) baseRules() []rule {
	network := n.prefix.String()
	return []rule{
		{"nat", "POSTROUTING", []string{"-s", network, "!", "-o", n.bridge, "-j", "MASQUERADE"}},
		// The node itself, when it uses a mapped port on a loopback address.
		{"nat", "POSTROUTING", []string{"-s", "127.0.0.0/8", "-o", n.bridge, "-j", "MASQUERADE"}},
		{"filter", "FORWARD", []string{"-i", n.bridge, "-j", "ACCEPT"}},
		{"filter", "FORWARD", []string{"-o", n.bridge, "-m", "conntrack", "--ctstate", "DNAT,ESTABLISHED,RELATED", "-j", "ACCEPT"}},
	}
}

// portRules map the workload's ports, for packets from outside and from the node itself.
func (n *network) portRules(r reservation) []rule {
	var rules []rule
	for _, p := range r.Ports {
		match := n.mapping(p, r)
		rules = append(rules, rule{"nat", "PREROUTING", match}, rule{"nat", "OUTPUT", match})
	}
	return rules
}

func (n *network) mapping(p drivers.Port, r reservation) []string {
	return []string{
		"-p", p.Protocol, "-m", "addrtype", "--dst-type", "LOCAL", "-m", p.Protocol, "--dport", strconv.Itoa(int(p.HostPort)),
		"-j", "DNAT", "--to-destination", r.Address.String() + ":" + strconv.Itoa(int(p.Port)),
	}
}

// add puts the rule in front of all others, unless it is there.
func (r rule) add(ctx context.Context) error {
	if r.run(ctx, "-C") == nil {
		return nil
	}
	return r.run(ctx, "-I")
}

func (r rule) remove(ctx context.Context) { _ = r.run(ctx, "-D") }

func (r rule) run(ctx context.Context, what string) error {
	args := append([]string{"-w", "-t", r.table, what, r.chain}, r.match...)
	out, err := exec.CommandContext(ctx, iptables(), args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("iptables %s in %s of %s: %w: %s", what, r.chain, r.table, err, bytes.TrimSpace(out))
	}
	return nil
}
