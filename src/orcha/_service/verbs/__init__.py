"""What each message of a client means: one verb, one file. The table is closed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orcha._protocol import messages
from orcha._service.verbs.add_schedule import add_schedule
from orcha._service.verbs.call import call
from orcha._service.verbs.cancel import cancel
from orcha._service.verbs.drain import drain
from orcha._service.verbs.events import list_events
from orcha._service.verbs.finish import finish
from orcha._service.verbs.follow import close_channel, credit, follow, unfollow
from orcha._service.verbs.give_secrets import give_secrets
from orcha._service.verbs.groups import set_group
from orcha._service.verbs.keys import list_keys, set_key
from orcha._service.verbs.leases import change_lease
from orcha._service.verbs.list import list_petitions
from orcha._service.verbs.pause import pause, resume
from orcha._service.verbs.ping import ping
from orcha._service.verbs.priority import set_priority
from orcha._service.verbs.put import put
from orcha._service.verbs.reload import reload
from orcha._service.verbs.remove import remove
from orcha._service.verbs.resources import drain_resource, list_resources, set_resource
from orcha._service.verbs.retry import retry
from orcha._service.verbs.schedules import change_schedule, fire_schedule, list_schedules
from orcha._service.verbs.select import select
from orcha._service.verbs.set import set_petition
from orcha._service.verbs.show import show
from orcha._service.verbs.signal import send_signal
from orcha._service.verbs.stats import stats
from orcha._service.verbs.stdin import resize, stdin
from orcha._service.verbs.stop import stop
from orcha._service.verbs.submit import submit
from orcha._service.verbs.unset import unset
from orcha._service.verbs.who import who

if TYPE_CHECKING:
    from collections.abc import Callable

HANDLERS: dict[type, Callable[[Any, Any, Any], None]] = {
    messages.Submit: submit,
    messages.Cancel: cancel,
    messages.Follow: follow,
    messages.Unfollow: unfollow,
    messages.Credit: credit,
    messages.Put: put,
    messages.Finish: finish,
    messages.List: list_petitions,
    messages.Call: call,
    messages.Ping: ping,
    messages.CloseChannel: close_channel,
    messages.Show: show,
    messages.Set: set_petition,
    messages.Priority: set_priority,
    messages.Pause: pause,
    messages.Resume: resume,
    messages.Remove: remove,
    messages.Retry: retry,
    messages.Stats: stats,
    messages.Stdin: stdin,
    messages.Resize: resize,
    messages.Signal: send_signal,
    messages.Select: select,
    messages.AddSchedule: add_schedule,
    messages.ListSchedules: list_schedules,
    messages.ChangeSchedule: change_schedule,
    messages.FireSchedule: fire_schedule,
    messages.Stop: stop,
    messages.ListResources: list_resources,
    messages.SetResource: set_resource,
    messages.DrainResource: drain_resource,
    messages.SetGroup: set_group,
    messages.ChangeLease: change_lease,
    messages.DrainService: drain,
    messages.Reload: reload,
    messages.Unset: unset,
    messages.SetKey: set_key,
    messages.ListKeys: list_keys,
    messages.Who: who,
    messages.GiveSecrets: give_secrets,
    messages.ListEvents: list_events,
}
