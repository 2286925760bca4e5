export { settingsPage } from './settings-page.js';
