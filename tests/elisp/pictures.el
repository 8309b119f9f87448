;;; pictures.el --- Take the pictures in images/  -*- lexical-binding: t; -*-

;; SPDX-License-Identifier: GPL-3.0-or-later

;;; Commentary:

;; Loaded by pictures.sh, in an Emacs with a frame that nobody sees.

;;; Code:

(require 'ragmacs-srv)
(require 'ragmacs-srv-go)
(require 'org)

(defconst pictures-folder (getenv "PICTURES_FOLDER")
  "Where the pictures go.")

(defmacro pictures-wait (condition)
  "Wait until CONDITION holds, two minutes at most."
  `(with-timeout (120 (error "Not within two minutes: %S" ',condition))
     (while (not ,condition)
       (accept-process-output nil 0.05))))

(defun pictures-idle-p ()
  "Return non-nil when nothing is under way."
  (map-empty-p ragmacs-srv--requests))

(defun pictures-take (name)
  "Write what the frame shows as the picture NAME."
  (message nil)
  (redisplay t)
  (let ((coding-system-for-write 'binary))
    (write-region (x-export-frames nil 'png) nil (expand-file-name name pictures-folder) nil 'silent)))

(defun pictures-frame (theme columns lines)
  "Give the frame THEME and a size of COLUMNS and LINES, and one window."
  (mapc #'disable-theme custom-enabled-themes)
  (load-theme theme t)
  (setq frame-background-mode nil)
  (frame-set-background-mode (selected-frame))
  (set-frame-size nil columns lines)
  (delete-other-windows)
  (set-mouse-position (selected-frame) 0 (1- lines)) ; or what it is at is highlighted
  (sit-for 0.2))

(defun pictures-answer ()
  "An answer, and beside it the source that is quoted."
  (pictures-frame 'modus-operandi 140 39)
  (ragmacs-srv-ask "Why is my heap about twice as large as my live data?")
  (delete-other-windows)
  (pictures-wait (pictures-idle-p))
  (split-window-right)
  (ragmacs-srv-next)
  (ragmacs-srv-show-source)
  (pictures-wait (and (pictures-idle-p) (ragmacs-srv--beside)))
  (pictures-take "answer.png"))

(defun pictures-layout ()
  "The layout of a type."
  (pictures-frame 'modus-vivendi 106 46)
  (ragmacs-srv-struct-layout "net/http" "Response")
  (delete-other-windows)
  (pictures-wait (pictures-idle-p))
  (pictures-take "layout.png"))

(defun pictures-reading-list ()
  "What a reading list becomes."
  (pictures-frame 'modus-operandi 110 40)
  (let ((report (expand-file-name "reading-list.org" temporary-file-directory)))
    (ragmacs-srv-summarize-list (getenv "PICTURES_LIST") report)
    (pictures-wait (pictures-idle-p))
    (pop-to-buffer (find-buffer-visiting report))
    (delete-other-windows)
    (visual-line-mode)
    (goto-char (point-min))
    (pictures-take "reading-list.png")))

(defun pictures-terminal ()
  "The layout of a type where Emacs has no frame but a terminal."
  (pictures-frame 'modus-vivendi 100 23)
  (switch-to-buffer
   (make-term "terminal" (getenv "PICTURES_EMACS") nil "-nw" "-Q" "-L" (file-name-directory (locate-library "ragmacs-srv"))
              "--eval" (format "(progn (menu-bar-mode -1) (setq inhibit-startup-screen t ragmacs-srv-command '%S) %S %S)"
                               ragmacs-srv-command
                               '(require 'ragmacs-srv)
                               '(progn (ragmacs-srv-struct-layout "bufio" "Reader")
                                       (delete-other-windows)
                                       (run-at-time 1 nil #'message nil)))))
  (setq mode-line-format nil)
  (term-char-mode)
  (pictures-wait (save-excursion (goto-char (point-min))
                                 (and (search-forward "A better order" nil t)
                                      (not (search-forward "GNU" nil t)))))
  (pictures-take "terminal.png")
  (set-process-query-on-exit-flag (get-buffer-process (current-buffer)) nil))

(setq inhibit-startup-screen t
      ring-bell-function #'ignore
      org-startup-truncated nil
      org-startup-indented t
      ragmacs-srv-command (split-string (getenv "PICTURES_RAGMACS")))
(set-face-attribute 'default nil :family "DejaVu Sans Mono" :height 105)
(modify-all-frames-parameters '((menu-bar-lines . 0) (tool-bar-lines . 0) (vertical-scroll-bars . nil) (internal-border-width . 8)))
(blink-cursor-mode -1)

(condition-case problem
    (progn
      (pictures-answer)
      (pictures-layout)
      (pictures-reading-list)
      (pictures-terminal)
      (kill-emacs 0))
  (error (princ (format "pictures: %s\n" (error-message-string problem)) #'external-debugging-output)
         (kill-emacs 1)))

;;; pictures.el ends here
