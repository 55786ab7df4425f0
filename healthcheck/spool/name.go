package spool

import (
	"fmt"
	"strconv"
	"strings"
)

// All is the name that stands for every service.
const All = "all"

// maxName leaves room for a port in what file systems take as a name.
const maxName = 200

// Name joins a service and a port to what its file is called. Port 0 stands for all
// ports of the service.
//
// A service has letters, digits, dots, underscores and dashes, as in hacheck's URLs.
// It begins with neither a dot, which keeps it inside of the directory, nor a dash,
// which would be an option misspelt.
func Name(service string, port int) (string, error) {
	switch {
	case !plain(service):
		return "", fmt.Errorf("spool: %q: %w", service, ErrName)
	case port < 0 || port > 65535:
		return "", fmt.Errorf("spool: port %d is not from 1 to 65535, or 0 for all of them", port)
	case port == 0:
		return service, nil
	case service == All:
		return "", fmt.Errorf("spool: %s:%d: all is every service on every port", All, port)
	default:
		return service + ":" + strconv.Itoa(port), nil
	}
}

// Split takes a name apart into service and port: the reverse of Name.
func Split(name string) (service string, port int, err error) {
	service, text, hasPort := strings.Cut(name, ":")
	if hasPort {
		port, err = strconv.Atoi(text)
	}
	again := ""
	if err == nil {
		again, err = Name(service, port)
	}
	if err != nil || again != name { // 080 and +80 are other files than 80
		return "", 0, fmt.Errorf("spool: %q: %w", name, ErrName)
	}
	return service, port, nil
}

func plain(service string) bool {
	if service == "" || len(service) > maxName || service[0] == '.' || service[0] == '-' {
		return false
	}
	return !strings.ContainsFunc(service, func(r rune) bool {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
		return !letter && (r < '0' || r > '9') && r != '.' && r != '_' && r != '-'
	})
}
