package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/edgeio/edgeio/agent/config"
	"github.com/edgeio/edgeio/agent/uplink"
	"github.com/edgeio/edgeio/proto/enrol"
	"github.com/edgeio/edgeio/proto/identity"
)

// parentsFile holds the addresses that the node joined at, one a line.
const parentsFile = "parents"

// ErrJoined is wrapped by Join if the node has joined already.
var ErrJoined = errors.New("this node has joined a cluster already")

// Join enrols the node at the parent at addr and notes the address. With force
// it replaces an earlier enrolment.
func Join(ctx context.Context, cfg config.Config, addr, token string, force bool, log *slog.Logger) (identity.Peer, error) {
	id, err := OpenIdentity(cfg.StateDir)
	if err != nil {
		return identity.Peer{}, err
	}
	if id.Enrolled() && !force {
		return id.Peer(), fmt.Errorf("%w, as %s; to replace that, add --force", ErrJoined, id.Peer())
	}
	peer, err := enrol.Join(ctx, enrol.Request{
		Store: id, Kind: identity.Node, Name: cfg.Name, Token: token, Addrs: []string{addr}, Logger: log,
	})
	if err != nil {
		return identity.Peer{}, err
	}
	if err := identity.WriteFile(filepath.Join(cfg.StateDir, parentsFile), []byte(addr+"\n"), 0o600); err != nil {
		return identity.Peer{}, fmt.Errorf("note the parent's address: %w", err)
	}
	return peer, nil
}

func readParents(stateDir string) ([]string, error) {
	data, err := os.ReadFile(filepath.Join(stateDir, parentsFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the parents' addresses: %w", err)
	}
	return strings.Fields(string(data)), nil
}

// Parents returns the addresses of the node's parents: those that are
// configured, then those that it joined at.
func Parents(cfg config.Config) ([]string, error) {
	joined, err := readParents(cfg.StateDir)
	if err != nil {
		return nil, err
	}
	var all []string
	for _, a := range append(append([]string{}, cfg.Parents...), joined...) {
		if !slices.Contains(all, a) {
			all = append(all, a)
		}
	}
	return all, nil
}

// Leave tells the parent that the node does not come back, and forgets the
// certificate. If the agent runs, it does so itself, and ends.
func Leave(ctx context.Context, cfg config.Config, log *slog.Logger) error {
	running, err := DialControl(cfg.StateDir).Leave(ctx)
	if running {
		return err
	}
	id, err := OpenIdentity(cfg.StateDir)
	if err != nil {
		return err
	}
	if !id.Enrolled() {
		return ErrNotJoined
	}
	parents, err := Parents(cfg)
	if err != nil {
		return err
	}
	if err := uplink.Leave(ctx, parents, id, leaveReason, log); err != nil {
		return err
	}
	return forget(cfg.StateDir, id)
}

const leaveReason = "left by command on the node"

func forget(stateDir string, id *identity.Store) error {
	if err := id.Forget(); err != nil {
		return fmt.Errorf("forget the certificate: %w", err)
	}
	if err := os.Remove(filepath.Join(stateDir, parentsFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("forget the parents' addresses: %w", err)
	}
	return nil
}
