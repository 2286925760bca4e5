export { composeEnvExample } from './compose-env.js';
export { settingsPage } from './settings-page.js';
