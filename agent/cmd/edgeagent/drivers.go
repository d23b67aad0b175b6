package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/edgeio/edgeio/agent/artifact"
	"github.com/edgeio/edgeio/agent/config"
	"github.com/edgeio/edgeio/agent/node"
	"github.com/edgeio/edgeio/agent/uplink"
	"github.com/edgeio/edgeio/capabilities"
	"github.com/edgeio/edgeio/drivers"
	"github.com/edgeio/edgeio/drivers/docker"
	"github.com/edgeio/edgeio/drivers/mirage"
	"github.com/edgeio/edgeio/drivers/native"
)

// setup is what drivers are made from.
type setup struct {
	cfg       config.Config
	agentID   string // marks what is this agent's on a shared daemon
	passwords map[string]artifact.Credential
	log       *slog.Logger
}

// builders has one line per runtime; this is the place to add one.
func builders() map[string]func(setup) (drivers.Driver, error) {
	return map[string]func(setup) (drivers.Driver, error){
		"docker": newDocker,
		"mirage": newMirage,
		"native": newNative,
	}
}

// newDrivers returns the drivers that are not switched off. One that cannot be
// set up is there, too, and says why it is not usable: the others work on. The
// caller closes them with closeDrivers.
func newDrivers(cfg config.Config, agentID string, passwords map[string]artifact.Credential, log *slog.Logger) map[string]drivers.Driver {
	all := map[string]drivers.Driver{}
	for name, build := range builders() {
		if slices.Contains(cfg.Drivers.Disabled, name) {
			continue
		}
		d, err := build(setup{cfg, agentID, passwords, log.With("driver", name)})
		if err != nil {
			d = unusable{name, err}
		}
		all[name] = d
	}
	addPrograms(all, setup{cfg, agentID, passwords, log})
	return all
}

func newDocker(s setup) (drivers.Driver, error) {
	c := docker.Config{
		Host: s.cfg.Drivers.Docker.Host, AuthFile: s.cfg.Drivers.Docker.AuthFile, AgentID: s.agentID,
		Registries: map[string]docker.Credentials{},
	}
	for host, p := range s.passwords {
		c.Registries[host] = docker.Credentials{Username: p.Username, Password: p.Password}
	}
	return docker.New(c, s.log)
}

func newNative(s setup) (drivers.Driver, error) {
	return native.New(native.Config{
		Dir:      filepath.Join(s.cfg.StateDir, "native"),
		ShimPath: s.cfg.Drivers.Native.Shim, DefaultUser: s.cfg.Drivers.Native.DefaultUser,
	}, s.log)
}

func newMirage(s setup) (drivers.Driver, error) {
	c := s.cfg.Drivers.Mirage
	return mirage.New(mirage.Config{
		Dir:      filepath.Join(s.cfg.StateDir, "mirage"),
		ShimPath: s.cfg.Drivers.Native.Shim, HVT: c.HVT, SPT: c.SPT, QEMU: c.QEMU,
		NoEmulation: !c.Emulation, Network: c.Network, BlockBytes: c.BlockMB * 1_000_000,
	}, s.log)
}

// passwords reads the credentials that the configuration names.
func passwords(cfg config.Config) (map[string]artifact.Credential, error) {
	out := map[string]artifact.Credential{}
	for host, r := range cfg.Registries {
		password, err := os.ReadFile(r.PasswordFile)
		if err != nil {
			return nil, fmt.Errorf("password for registry %s: %w", host, err)
		}
		out[host] = artifact.Credential{Username: r.Username, Password: strings.TrimRight(string(password), "\r\n")}
	}
	return out, nil
}

// assemble puts together what this machine and build have. The caller closes
// the cache of images and the drivers.
func assemble(ctx context.Context, cfg config.Config, log *slog.Logger) (node.Parts, *artifact.Cache, error) {
	fail := func(err error) (node.Parts, *artifact.Cache, error) { return node.Parts{}, nil, err }
	id, err := node.OpenIdentity(cfg.StateDir)
	if err != nil {
		return fail(err)
	}
	if !id.Enrolled() {
		return fail(node.NotJoined())
	}
	host := capabilities.Host{StateDir: cfg.StateDir}
	machine, err := node.MachineOf(capabilities.Discover(ctx, host))
	if err != nil {
		return fail(err)
	}
	secrets, err := passwords(cfg)
	if err != nil {
		return fail(err)
	}
	images, err := artifact.New(artifact.Config{
		Dir: filepath.Join(cfg.StateDir, "images"), MaxBytes: cfg.Images.CacheMB * 1_000_000, Credentials: secrets,
	}, log)
	if err != nil {
		return fail(err)
	}
	sampler := capabilities.NewSampler(host)
	return node.Parts{
		Version: version, Drivers: newDrivers(cfg, id.Peer().ID, secrets, log), Images: images, Machine: machine, Log: log,
		Sample: func(ctx context.Context) (uplink.Usage, error) { return sample(ctx, sampler) },
	}, images, nil
}
