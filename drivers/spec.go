package drivers

import (
	"errors"
	"fmt"
	"path"
	"strings"
)

// Check says what makes s unfit for every driver, all faults at once, or nil.
// Drivers call it first in Create and return its error as ErrInvalid.
func (s Spec) Check() error {
	var errs []error
	if err := checkID(s.ID); err != nil {
		errs = append(errs, err)
	}
	for name, value := range s.Env {
		if name == "" || strings.ContainsAny(name, "=\x00") {
			errs = append(errs, fmt.Errorf("env: name %q is empty or contains '=' or a zero byte", name))
		}
		if strings.Contains(value, "\x00") {
			errs = append(errs, fmt.Errorf("env %s: the value contains a zero byte", name))
		}
	}
	for _, word := range append(append([]string{s.Workdir, s.User}, s.Command...), s.Args...) {
		if strings.Contains(word, "\x00") {
			errs = append(errs, fmt.Errorf("%q contains a zero byte", word))
		}
	}
	if len(s.Command) > 0 && s.Command[0] == "" {
		errs = append(errs, errors.New("command: its first word, the program, is empty"))
	}
	if r := s.Resources; r.CPUMillis < 0 || r.MemoryBytes < 0 || r.PIDs < 0 {
		errs = append(errs, errors.New("resources: a limit is negative"))
	}
	for _, p := range s.Ports {
		if p.Port == 0 || p.Protocol != "tcp" && p.Protocol != "udp" {
			errs = append(errs, fmt.Errorf("port %q: %d/%s: want 1 to 65535 and tcp or udp", p.Name, p.Port, p.Protocol))
		}
	}
	for _, d := range s.Devices {
		if d.ID == "" {
			errs = append(errs, errors.New("devices: one has no id"))
		}
		for _, p := range d.Paths {
			if !strings.HasPrefix(p, "/") || strings.Contains(p, "\x00") || path.Clean(p) != p {
				errs = append(errs, fmt.Errorf("device %s: %q is not a clean, absolute path", d.ID, p))
			}
		}
	}
	return errors.Join(errs...)
}

func checkID(id string) error {
	outside := func(r rune) bool { return !(r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-') }
	if len(id) < 1 || len(id) > 64 || strings.ContainsFunc(id, outside) {
		return fmt.Errorf("id %q: want 1 to 64 of a-z, 0-9 and -", id)
	}
	return nil
}
