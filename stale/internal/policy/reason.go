package policy

// Reason is why a response is not stored.
type Reason uint8

// The reasons, in the order in which they are looked for.
const (
	None           Reason = iota // It is stored.
	Method                       // Only answers to GET are stored.
	Status                       // This status cannot be: interim, partial, 304, or forbidden by its definition.
	RequestNoStore               // The request said no-store.
	Malformed                    // A quote without an end may hide anything.
	NotUnderstood                // must-understand, and this status is not known here.
	NoStore                      // The response said no-store.
	Private                      // It is meant for one user, and the cache is shared.
	SetCookie                    // It sets a cookie, and the cache is shared.
	Authorization                // The request had credentials, and nothing in the response allows sharing it.
	Cookie                       // The request had a cookie, and nothing in the response says that it is public.
	VaryAny                      // No later request can be known to match.
	NotFresh                     // It is not fresh for any time, and there is nothing else that it could be used for.
)

// String is a token, fit for the detail of Cache-Status.
func (r Reason) String() string {
	switch r {
	case None:
		return "stored"
	case Method:
		return "method"
	case Status:
		return "status"
	case RequestNoStore:
		return "request-no-store"
	case Malformed:
		return "malformed"
	case NotUnderstood:
		return "must-understand"
	case NoStore:
		return noStore
	case Private:
		return "private"
	case SetCookie:
		return "set-cookie"
	case Authorization:
		return "authorization"
	case Cookie:
		return "cookie"
	case VaryAny:
		return "vary"
	case NotFresh:
		return "not-fresh"
	default:
		return "unknown"
	}
}
