package mirage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/edgeio/edgeio/drivers"
	"github.com/edgeio/edgeio/drivers/internal/process"
	"github.com/edgeio/edgeio/drivers/mirage/solo5"
)

// network is the bridge that guests with net devices are on. What each guest
// has of it is in a file of its folder, so that a new agent finds it again.
// All of it is made when the first guest needs it, and goes with the last.
type network struct {
	dir    string // of the reservations
	prefix netip.Prefix
	bridge string // name of the interface
	log    *slog.Logger

	mu   sync.Mutex // held while interfaces and rules are changed
	made bool       // by this process
}

// reservation is what a workload has of the network.
type reservation struct {
	ID      string         `json:"id"` // of the instance, whatever its generation
	Address netip.Addr     `json:"address"`
	Taps    []tap          `json:"taps"`
	Ports   []drivers.Port `json:"ports"`
}

// tap is the node's end of a net device.
type tap struct {
	Device string `json:"device"` // in the manifest
	Name   string `json:"name"`   // of the interface
	MAC    string `json:"mac"`    // the guest's
}

// The errors that are not the operating system's.
var (
	errNoNetwork = errors.New("this node cannot give net devices")
	errTaken     = errors.New("taken")
	errArguments = errors.New("arguments")
)

func networkClass(err error) error {
	switch {
	case errors.Is(err, errNoNetwork):
		return drivers.ErrUnsupported
	case errors.Is(err, errTaken):
		return drivers.ErrConflict
	case errors.Is(err, errArguments):
		return drivers.ErrInvalid
	}
	return process.Class(err)
}

func newNetwork(dir string, prefix netip.Prefix, bridge string, log *slog.Logger) (*network, error) {
	return &network{dir: dir, prefix: prefix, bridge: bridge, log: log}, os.MkdirAll(dir, 0o700)
}

// gateway is the node's address on the bridge.
func (n *network) gateway() netip.Addr { return n.prefix.Addr().Next() }

// arguments tell a MirageOS guest its address.
func (n *network) arguments(a netip.Addr) []string {
	return []string{"--ipv4=" + netip.PrefixFrom(a, n.prefix.Bits()).String(), "--ipv4-gateway=" + n.gateway().String()}
}

// givenAddress finds the address that the job gives its guest by itself.
func givenAddress(args []string) (value string, given bool) {
	for i, a := range args {
		if v, ok := strings.CutPrefix(a, "--ipv4="); ok {
			return v, true
		}
		if a == "--ipv4" && i+1 < len(args) {
			return args[i+1], true
		}
	}
	return "", false
}

// reserve gives a workload an address, taps and ports of the host. Called
// again for one key it returns the same.
func (n *network) reserve(key, id string, devices []solo5.Device, args []string, ports []drivers.Port) (reservation, error) {
	if err := n.usable(len(ports) > 0); err != nil {
		return reservation{}, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if r, ok := n.read(key); ok {
		return r, nil
	}
	all, err := n.all()
	if err != nil {
		return reservation{}, err
	}
	r := reservation{ID: id, Ports: slices.Clone(ports)}
	if r.Address, err = n.address(all, args); err != nil {
		return reservation{}, err
	}
	if err := n.reservePorts(r.Ports, id, all); err != nil {
		return reservation{}, err
	}
	r.Taps = taps(n.bridge, id, key, devices)
	b, err := json.Marshal(r)
	if err != nil {
		return reservation{}, err
	}
	tmp := filepath.Join(n.dir, ".new")
	if err := os.WriteFile(tmp, b, 0o600); err != nil {
		return reservation{}, err
	}
	return r, os.Rename(tmp, filepath.Join(n.dir, key))
}

// taps names what a workload's net devices are attached to. The address of the
// guest's side stays when the job is replaced by its next generation.
func taps(bridge, id, key string, devices []solo5.Device) []tap {
	var list []tap
	for i, device := range devices {
		if device.Type != solo5.Net {
			continue
		}
		mac := process.Hash(bridge + "/" + id + "/" + device.Name)
		list = append(list, tap{
			Device: device.Name,
			Name:   fmt.Sprintf("eio%08x%02d", process.Hash(bridge+"/"+key), i),
			MAC:    fmt.Sprintf("02:e1:%02x:%02x:%02x:%02x", byte(mac>>24), byte(mac>>16), byte(mac>>8), byte(mac)),
		})
	}
	return list
}

// address picks the one that the job gives, or a free one.
func (n *network) address(all map[string]reservation, args []string) (netip.Addr, error) {
	taken := map[netip.Addr]bool{n.prefix.Addr(): true, n.gateway(): true}
	for _, r := range all {
		taken[r.Address] = true
	}
	if value, given := givenAddress(args); given {
		word, _, _ := strings.Cut(value, "/")
		a, err := netip.ParseAddr(word)
		switch {
		case err != nil || !n.prefix.Contains(a):
			return a, fmt.Errorf("%w: --ipv4=%s: want an address of %s, the network of this node's unikernels, or none for a free one", errArguments, value, n.prefix)
		case taken[a]:
			return a, fmt.Errorf("--ipv4=%s: the address is %w", value, errTaken)
		}
		return a, nil
	}
	for a := n.gateway().Next(); n.prefix.Contains(a.Next()); a = a.Next() { // the last is for broadcasts
		if !taken[a] {
			return a, nil
		}
	}
	return netip.Addr{}, fmt.Errorf("no address of %s is left: %w; set a larger drivers.mirage.network", n.prefix, syscall.EAGAIN)
}

// reservePorts checks the host ports, and chooses those that are left open. The
// generations of one instance share theirs: the newest gets the traffic.
func (n *network) reservePorts(ports []drivers.Port, id string, all map[string]reservation) error {
	taken := map[string]bool{}
	for _, r := range all {
		for _, p := range r.Ports {
			taken[p.Protocol+strconv.Itoa(int(p.HostPort))] = r.ID != id
		}
	}
	for i := range ports {
		p := &ports[i]
		if p.HostPort != 0 {
			if taken[p.Protocol+strconv.Itoa(int(p.HostPort))] || !free(p) {
				return fmt.Errorf("host port %d/%s is %w", p.HostPort, p.Protocol, errTaken)
			}
			taken[p.Protocol+strconv.Itoa(int(p.HostPort))] = true
			continue
		}
		for range 100 {
			if free(p) && !taken[p.Protocol+strconv.Itoa(int(p.HostPort))] {
				break
			}
			p.HostPort = 0
		}
		if p.HostPort == 0 {
			return fmt.Errorf("no host port is free for port %d/%s: %w", p.Port, p.Protocol, syscall.EAGAIN)
		}
		taken[p.Protocol+strconv.Itoa(int(p.HostPort))] = true
	}
	return nil
}

// free tells whether nobody listens on the host port, which it chooses if it is 0.
func free(p *drivers.Port) bool {
	address := ":" + strconv.Itoa(int(p.HostPort))
	if p.Protocol == "udp" {
		c, err := net.ListenPacket("udp4", address)
		if err != nil {
			return false
		}
		defer c.Close()
		p.HostPort = uint16(c.LocalAddr().(*net.UDPAddr).Port)
		return true
	}
	l, err := net.Listen("tcp4", address)
	if err != nil {
		return false
	}
	defer l.Close()
	p.HostPort = uint16(l.Addr().(*net.TCPAddr).Port)
	return true
}

// read returns the reservation of a workload, if it has one.
func (n *network) read(key string) (reservation, bool) {
	var r reservation
	b, err := os.ReadFile(filepath.Join(n.dir, key))
	return r, err == nil && json.Unmarshal(b, &r) == nil
}

// all returns all reservations by key.
func (n *network) all() (map[string]reservation, error) {
	entries, err := os.ReadDir(n.dir)
	if err != nil {
		return nil, err
	}
	all := map[string]reservation{}
	for _, e := range entries {
		if r, ok := n.read(e.Name()); ok && !strings.HasPrefix(e.Name(), ".") {
			all[e.Name()] = r
		}
	}
	return all, nil
}

// up makes what a workload has reserved. Doing it again changes nothing.
func (n *network) up(ctx context.Context, key string) error {
	if _, ok := n.read(key); !ok {
		return nil
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	r, ok := n.read(key)
	if !ok {
		return nil
	}
	if err := n.makeBridge(ctx); err != nil {
		return err
	}
	for _, p := range r.Taps {
		if err := makeTap(p.Name, n.bridge); err != nil {
			return fmt.Errorf("make tap device %s: %w", p.Name, err)
		}
	}
	for _, rule := range n.portRules(r) {
		if err := rule.add(ctx); err != nil {
			return err
		}
	}
	return nil
}

// makeBridge makes the bridge, and the way from it to the world.
func (n *network) makeBridge(ctx context.Context) error {
	if n.made {
		if _, err := net.InterfaceByName(n.bridge); err == nil {
			return nil
		}
	}
	if err := n.conflict(); err != nil {
		return err
	}
	if err := makeBridge(n.bridge, n.prefix, n.gateway()); err != nil {
		return fmt.Errorf("make bridge %s: %w", n.bridge, err)
	}
	if iptables() != "" {
		for path, why := range map[string]string{
			"/proc/sys/net/ipv4/ip_forward":                           "forward packets",
			"/proc/sys/net/ipv4/conf/" + n.bridge + "/route_localnet": "let the node itself reach mapped ports",
		} {
			if err := os.WriteFile(path, []byte("1"), 0o644); err != nil {
				return fmt.Errorf("%s: %w", why, err)
			}
		}
		for _, rule := range n.baseRules() {
			if err := rule.add(ctx); err != nil {
				return err
			}
		}
	} else {
		n.log.Warn("unikernels reach this node only: there is no iptables for network address translation")
	}
	n.made = true
	return nil
}

// conflict tells whether another interface has addresses of the network.
func (n *network) conflict() error {
	interfaces, err := net.Interfaces()
	if err != nil {
		return err
	}
	for _, i := range interfaces {
		if i.Name == n.bridge {
			continue
		}
		addresses, err := i.Addrs()
		if err != nil {
			continue // it is gone
		}
		for _, a := range addresses {
			if p, err := netip.ParsePrefix(a.String()); err == nil && p.Overlaps(n.prefix) {
				return fmt.Errorf("network %s is %w by interface %s (%s); set another one with drivers.mirage.network", n.prefix, errTaken, i.Name, p)
			}
		}
	}
	return nil
}

// down takes away what a workload has. Doing it again does nothing.
func (n *network) down(ctx context.Context, key string) error {
	if _, ok := n.read(key); !ok {
		return nil
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	r, ok := n.read(key)
	if !ok {
		return nil
	}
	for _, rule := range n.portRules(r) {
		rule.remove(ctx)
	}
	var errs []error
	for _, p := range r.Taps {
		if err := removeTap(p.Name); err != nil {
			errs = append(errs, fmt.Errorf("remove tap device %s: %w", p.Name, err))
		}
	}
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	if err := os.Remove(filepath.Join(n.dir, key)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if left, err := n.all(); err != nil || len(left) > 0 {
		return err
	}
	if iptables() != "" {
		for _, rule := range n.baseRules() {
			rule.remove(ctx)
		}
	}
	n.made = false
	if err := removeBridge(n.bridge); err != nil {
		return fmt.Errorf("remove bridge %s: %w", n.bridge, err)
	}
	return nil
}

// reservationAge is when a reservation without a workload must be that of an
// agent that died in Create or Remove.
const reservationAge = 10 * time.Minute

// sweep takes away what workloads have that are no more.
func (n *network) sweep(exists func(key string) bool) {
	all, err := n.all()
	if err != nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	for key := range all {
		info, err := os.Stat(filepath.Join(n.dir, key))
		if err != nil || exists(key) || time.Since(info.ModTime()) < reservationAge {
			continue
		}
		if err := n.down(ctx, key); err != nil {
			n.log.Warn("cannot take back the network of a unikernel that is gone", "workload", key, "err", err)
		}
	}
}
