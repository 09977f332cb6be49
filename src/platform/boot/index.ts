/** Which of two slots the firmware boots: EFI variables, or the environment of U-Boot. */
export * from './boot-chooser.ts';
export { EfiBootChooser, type EfiSlot } from './efi-boot.ts';
export { EFI_VARIABLES_DIR, EfiVariables } from './efi-variables.ts';
export { FakeBootChooser } from './fake-boot-chooser.ts';
export { UbootChooser, type UbootPrograms } from './uboot.ts';
