/** Where the original's history is, besides the scheduler's own settings, which say where it goes. */
import { sharedSettings, type SettingsTable } from '@stadion/service-kit';

export const historyImportTable = {
  sourceHost: {
    name: 'STADION_ORIGINAL_DATABASE_HOST',
    kind: 'text',
    required: true,
    meaning: "Host of the original's MariaDB or MySQL server.",
  },
  sourcePort: {
    name: 'STADION_ORIGINAL_DATABASE_PORT',
    kind: 'integer',
    min: 1,
    max: 65_535,
    default: 3306,
    unit: 'port',
    meaning: 'Port of that server.',
  },
  sourceUser: {
    name: 'STADION_ORIGINAL_DATABASE_USER',
    kind: 'text',
    required: true,
    meaning: 'User that may read there; nothing is written.',
  },
  sourcePassword: {
    name: 'STADION_ORIGINAL_DATABASE_PASSWORD',
    kind: 'secret',
    required: true,
    meaning: "That user's password.",
  },
  sourceName: {
    name: 'STADION_ORIGINAL_DATABASE_NAME',
    kind: 'text',
    required: true,
    meaning: 'Database that holds `script_log` and the three tables of statistics.',
  },
  sourceTimeZone: {
    name: 'STADION_ORIGINAL_TIME_ZONE',
    kind: 'text',
    required: true,
    refuse: sharedSettings.timeZone.refuse,
    meaning:
      'Time zone in which the original wrote its times, which say none themselves: its TIME_ZONE, or UTC if it had none.',
  },
} as const satisfies SettingsTable;
