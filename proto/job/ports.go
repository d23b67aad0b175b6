package job

import (
	"strconv"
	"strings"
)

const portForms = `8080, "18080:8080" (host port first), "53:53/udp", or a mapping with port`

func (b *binder) ports(to *[]Port) func(*node, string) {
	return func(n *node, path string) {
		if n.kind != list {
			b.fail(n.pos, path, "want a list, each of %s; this is %s", portForms, n)
			return
		}
		for i, item := range n.items {
			var port Port
			b.port(&port, item, index(path, i))
			*to = append(*to, port)
		}
	}
}

func (b *binder) port(to *Port, n *node, path string) {
	b.at[path] = n.pos
	if n.kind == mapping {
		var port, host int64
		b.mapping(n, path, "",
			field{"name", "", b.text(&to.Name)},
			field{"port", "want the port that the job listens on", b.integer(&port, 1, 65535, "a port")},
			field{"host_port", "", b.integer(&host, 1, 65535, "a port")},
			field{"protocol", "", b.text(&to.Protocol)},
		)
		to.Port, to.HostPort = uint16(port), uint16(host)
		return
	}
	p, ok := shortPort(n.text)
	if !ok || n.kind != number && n.kind != text {
		b.fail(n.pos, path, "want %s, ports from 1 to 65535; this is %s", portForms, n)
		return
	}
	*to = p
}

// shortPort reads "8080", "18080:8080" and "53:53/udp".
func shortPort(s string) (Port, bool) {
	var p Port
	ports, protocol, named := strings.Cut(s, "/")
	if named && protocol == "" {
		return p, false
	}
	p.Protocol = protocol
	host, port, both := strings.Cut(ports, ":")
	if !both {
		host, port = "", host
	}
	v, ok := portNumber(port)
	p.Port = v
	if both && ok {
		p.HostPort, ok = portNumber(host)
	}
	return p, ok
}

func portNumber(s string) (uint16, bool) {
	v, err := strconv.ParseUint(s, 10, 16)
	return uint16(v), err == nil && v > 0 && s[0] != '0'
}
