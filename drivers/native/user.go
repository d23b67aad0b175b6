package native

import (
	"os"
	"os/user"
	"strconv"
	"strings"

	"github.com/edgeio/edgeio/drivers"
	"github.com/edgeio/edgeio/drivers/internal/process"
	"github.com/edgeio/edgeio/drivers/internal/shim"
)

// setUser decides who runs the workload: "name", "uid", each with ":group".
func (d *Driver) setUser(w *process.Workload, l *shim.Launch, spec string) error {
	if spec == "" {
		spec = d.cfg.DefaultUser
	}
	if spec == "" { // the agent's own user
		l.UID, l.GID = uint32(os.Geteuid()), uint32(os.Getegid())
		return nil
	}
	account, group, hasGroup := strings.Cut(spec, ":")
	if err := setAccount(l, account, hasGroup); err != nil {
		return w.Errorf(drivers.ErrInvalid, "user %q: %w", spec, err)
	}
	if hasGroup {
		gid, err := groupID(group)
		if err != nil {
			return w.Errorf(drivers.ErrInvalid, "user %q: %w", spec, err)
		}
		l.GID, l.Groups = gid, []uint32{gid}
	}
	if os.Geteuid() == 0 {
		l.SetUser = true
		return nil
	}
	if int(l.UID) != os.Geteuid() || hasGroup && int(l.GID) != os.Getegid() {
		return w.Errorf(drivers.ErrDenied, "user %q: the agent is not root and runs workloads only as its own user, %d", spec, os.Geteuid())
	}
	return nil
}

// setAccount sets the user with the groups that the node gives it.
func setAccount(l *shim.Launch, account string, hasGroup bool) error {
	u, err := user.Lookup(account)
	if uid, nerr := strconv.ParseUint(account, 10, 32); nerr == nil {
		if u, err = user.LookupId(account); err != nil {
			// A number needs no account; its group is not root's.
			l.UID, l.GID, l.Groups = uint32(uid), uint32(uid), []uint32{uint32(uid)}
			return nil
		}
	}
	if err != nil {
		return err
	}
	if l.UID, err = parseID(u.Uid); err != nil {
		return err
	}
	if l.GID, err = parseID(u.Gid); err != nil || hasGroup {
		return err
	}
	ids, err := u.GroupIds()
	if err != nil {
		return err
	}
	for _, id := range ids {
		gid, err := parseID(id)
		if err != nil {
			return err
		}
		l.Groups = append(l.Groups, gid)
	}
	return nil
}

func groupID(group string) (uint32, error) {
	if gid, err := parseID(group); err == nil {
		return gid, nil
	}
	g, err := user.LookupGroup(group)
	if err != nil {
		return 0, err
	}
	return parseID(g.Gid)
}

func parseID(s string) (uint32, error) {
	n, err := strconv.ParseUint(s, 10, 32)
	return uint32(n), err
}
