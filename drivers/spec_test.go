package drivers

import (
	"strings"
	"testing"
)

func TestSpecCheck(t *testing.T) {
	good := Spec{ID: "a-1", Ports: []Port{{Port: 80, Protocol: "tcp"}}, Env: map[string]string{"A": "=b\n"}}
	cases := []struct {
		name string
		edit func(*Spec)
		want string // part of the error; "" for none
	}{
		{"good", func(*Spec) {}, ""},
		{"no id", func(s *Spec) { s.ID = "" }, "id"},
		{"long id", func(s *Spec) { s.ID = strings.Repeat("a", 65) }, "id"},
		{"path as id", func(s *Spec) { s.ID = "a/../b" }, "id"},
		{"env name with =", func(s *Spec) { s.Env = map[string]string{"A=B": ""} }, "A=B"},
		{"env value with zero", func(s *Spec) { s.Env = map[string]string{"A": "\x00"} }, "env A"},
		{"argument with zero", func(s *Spec) { s.Args = []string{"a\x00b"} }, "zero byte"},
		{"empty program", func(s *Spec) { s.Command = []string{"", "x"} }, "command"},
		{"negative limit", func(s *Spec) { s.Resources.PIDs = -1 }, "negative"},
		{"port 0", func(s *Spec) { s.Ports = []Port{{Protocol: "tcp"}} }, "port"},
		{"protocol", func(s *Spec) { s.Ports = []Port{{Port: 1, Protocol: "sctp"}} }, "sctp"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s := good
			c.edit(&s)
			err := s.Check()
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("Check: %v, want %q", err, c.want)
			}
		})
	}
}
