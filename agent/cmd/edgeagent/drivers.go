package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"

	"github.com/edgeio/edgeio/agent/config"
	"github.com/edgeio/edgeio/agent/node"
	"github.com/edgeio/edgeio/drivers"
	"github.com/edgeio/edgeio/drivers/docker"
)

// builders has one line per runtime; this is the place to add one.
func builders() map[string]func(cfg config.Config, agentID string, log *slog.Logger) (drivers.Driver, error) {
	return map[string]func(config.Config, string, *slog.Logger) (drivers.Driver, error){
		"docker": newDocker,
	}
}

// newDrivers returns the drivers that are not switched off.
func newDrivers(cfg config.Config, agentID string, log *slog.Logger) (map[string]drivers.Driver, error) {
	all := map[string]drivers.Driver{}
	for name, build := range builders() {
		if slices.Contains(cfg.Drivers.Disabled, name) {
			continue
		}
		d, err := build(cfg, agentID, log.With("driver", name))
		if err != nil {
			return nil, fmt.Errorf("set up driver %s: %w", name, err)
		}
		all[name] = d
	}
	return all, nil
}

func newDocker(cfg config.Config, agentID string, log *slog.Logger) (drivers.Driver, error) {
	c := docker.Config{
		Host: cfg.Drivers.Docker.Host, AuthFile: cfg.Drivers.Docker.AuthFile, AgentID: agentID,
		Registries: map[string]docker.Credentials{},
	}
	for host, r := range cfg.Drivers.Docker.Registries {
		password, err := os.ReadFile(r.PasswordFile)
		if err != nil {
			return nil, fmt.Errorf("password for registry %s: %w", host, err)
		}
		c.Registries[host] = docker.Credentials{Username: r.Username, Password: strings.TrimRight(string(password), "\r\n")}
	}
	return docker.New(c, log)
}

// parts puts together what this machine and build have.
func parts(_ context.Context, cfg config.Config, log *slog.Logger) (node.Parts, error) {
	id, err := node.OpenIdentity(cfg.StateDir)
	if err != nil {
		return node.Parts{}, err
	}
	if !id.Enrolled() {
		return node.Parts{}, fmt.Errorf("%w: run \"edgeagent join ADDRESS --token TOKEN\" first", node.ErrNotJoined)
	}
	all, err := newDrivers(cfg, id.Peer().ID, log)
	if err != nil {
		return node.Parts{}, err
	}
	machine, err := node.ReadMachine("/", cfg.StateDir)
	if err != nil {
		return node.Parts{}, err
	}
	return node.Parts{Version: version, Drivers: all, Machine: machine, Log: log}, nil
}

func discardLog() *slog.Logger { return slog.New(slog.DiscardHandler) }
